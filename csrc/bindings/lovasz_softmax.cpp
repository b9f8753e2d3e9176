#include "cpu/lovasz_softmax.h"

#include <ATen/Dispatch.h>
#include <ATen/OpMathType.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <limits>
#include <optional>
#include <string_view>
#include <tuple>

#include "check.h"
#include "common/ignore_label.h"
#include "compute_type.h"
#include "empty.h"
#ifdef ELITE_WITH_CUDA
#include "cuda.h"
#include "cuda/lovasz_softmax.h"
#endif

namespace elite_ops {
namespace {

constexpr auto kOp = "lovasz_softmax";

void check(const at::Tensor& logits, const at::Tensor& labels, std::string_view classes) {
  check_dim(kOp, "logits", logits, 2);
  check_dim(kOp, "labels", labels, 1);
  check_floating(kOp, "logits", logits);
  check_dtype(kOp, "labels", labels, at::kLong);
  check_same_device(kOp, "labels", labels, "logits", logits);
  check_size(kOp, "labels", labels, 0, logits.size(0));
  check_row_count(kOp, "logits", logits.size(0));
  TORCH_CHECK_VALUE(classes == "present" || classes == "all", kOp,
                    ": `classes` must be \"present\" or \"all\", got \"", classes, "\"");
}

void check_backward(const at::Tensor& grad_out, const at::Tensor& logits,
                    const at::Tensor& grad_probabilities) {
  constexpr auto op = "lovasz_softmax_backward";
  check_dim(op, "logits", logits, 2);
  check_dim(op, "grad_out", grad_out, 0);
  check_dim(op, "grad_probabilities", grad_probabilities, 2);
  check_floating(op, "logits", logits);
  const auto dtype = at::toOpMathType(logits.scalar_type());
  check_dtype(op, "grad_out", grad_out, dtype);
  check_dtype(op, "grad_probabilities", grad_probabilities, dtype);
  check_same_device(op, "grad_out", grad_out, "logits", logits);
  check_same_device(op, "grad_probabilities", grad_probabilities, "logits", logits);
  check_size(op, "grad_probabilities", grad_probabilities, 0, logits.size(1));
  check_size(op, "grad_probabilities", grad_probabilities, 1, logits.size(0));
}

void check_labels(const at::Tensor& labels, int64_t num_classes,
                  std::optional<int64_t> ignore_label) {
  const auto* data = labels.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < labels.size(0); ++i) {
    const bool is_class = data[i] >= 0 && data[i] < num_classes;
    TORCH_CHECK_INDEX(is_class || data[i] == ignore_label, kOp, ": `labels` must lie in [0, ",
                      num_classes, ") or be `ignore_label`, got ", data[i], " at row ", i);
  }
}

std::tuple<at::Tensor, at::Tensor> lovasz_softmax_cpu(const at::Tensor& logits_,
                                                      const at::Tensor& labels_,
                                                      std::optional<int64_t> ignore_label,
                                                      std::string_view classes) {
  check(logits_, labels_, classes);
  const auto labels = labels_.contiguous();
  check_labels(labels, logits_.size(1), ignore_label);
  const auto logits = as_computed(logits_);
  auto loss = empty({}, logits.options());
  auto grad_probabilities = at::zeros({logits.size(1), logits.size(0)}, logits.options());
  AT_DISPATCH_FLOATING_TYPES(logits.scalar_type(), kOp, [&] {
    *loss.mutable_data_ptr<scalar_t>() =
        cpu::lovasz_softmax(logits.const_data_ptr<scalar_t>(), labels.const_data_ptr<int64_t>(),
                            logits.size(0), logits.size(1), ignore_label.value_or(kNoIgnoreLabel),
                            classes == "present", grad_probabilities.mutable_data_ptr<scalar_t>());
  });
  return {loss, grad_probabilities};
}

at::Tensor lovasz_softmax_backward_cpu(const at::Tensor& grad_out, const at::Tensor& logits_,
                                       const at::Tensor& grad_probabilities_) {
  check_backward(grad_out, logits_, grad_probabilities_);
  const auto logits = as_computed(logits_);
  const auto grad_probabilities = grad_probabilities_.contiguous();
  auto grad_logits = at::empty_like(logits);
  AT_DISPATCH_FLOATING_TYPES(logits.scalar_type(), "lovasz_softmax_backward", [&] {
    cpu::lovasz_softmax_backward(*grad_out.const_data_ptr<scalar_t>(),
                                 logits.const_data_ptr<scalar_t>(),
                                 grad_probabilities.const_data_ptr<scalar_t>(), logits.size(0),
                                 logits.size(1), grad_logits.mutable_data_ptr<scalar_t>());
  });
  return grad_logits.to(logits_.scalar_type());
}

#ifdef ELITE_WITH_CUDA

std::tuple<at::Tensor, at::Tensor> lovasz_softmax_cuda(const at::Tensor& logits_,
                                                       const at::Tensor& labels_,
                                                       std::optional<int64_t> ignore_label,
                                                       std::string_view classes) {
  check(logits_, labels_, classes);
  TORCH_CHECK_VALUE(logits_.numel() <= std::numeric_limits<int32_t>::max(), kOp,
                    ": `logits` must have fewer than 2^31 elements, got ", logits_.numel());
  const c10::cuda::CUDAGuard guard(logits_.device());
  const auto logits = logits_.contiguous(), labels = labels_.contiguous();
  const int64_t num_points = logits.size(0), num_classes = logits.size(1);
  const auto options = logits.options().dtype(at::toOpMathType(logits.scalar_type()));
  auto loss = logits.numel() == 0 ? at::zeros({}, options) : empty({}, options);
  auto grad_probabilities = empty({num_classes, num_points}, options);
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, logits.scalar_type(), kOp, [&] {
    using accumulate = at::opmath_type<scalar_t>;
    const size_t bytes =
        cuda::lovasz_softmax_workspace_bytes<cuda_scalar<scalar_t>>(num_points, num_classes);
    auto workspace = empty({static_cast<int64_t>(bytes)}, options.dtype(at::kByte));
    C10_CUDA_CHECK(cuda::lovasz_softmax(
        cuda_data<scalar_t>(logits), labels.const_data_ptr<int64_t>(), num_points, num_classes,
        ignore_label.value_or(kNoIgnoreLabel), classes == "present",
        workspace.mutable_data_ptr<uint8_t>(), loss.mutable_data_ptr<accumulate>(),
        grad_probabilities.mutable_data_ptr<accumulate>(),
        device_error_flag(ErrorSource::kLovaszSoftmax), c10::cuda::getCurrentCUDAStream()));
  });
  return {loss, grad_probabilities};
}

at::Tensor lovasz_softmax_backward_cuda(const at::Tensor& grad_out, const at::Tensor& logits_,
                                        const at::Tensor& grad_probabilities_) {
  check_backward(grad_out, logits_, grad_probabilities_);
  const c10::cuda::CUDAGuard guard(logits_.device());
  const auto logits = logits_.contiguous(), grad_probabilities = grad_probabilities_.contiguous();
  auto grad_logits = at::empty_like(logits);
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, logits.scalar_type(), "lovasz_softmax_backward", [&] {
        using accumulate = at::opmath_type<scalar_t>;
        C10_CUDA_CHECK(cuda::lovasz_softmax_backward(
            grad_out.const_data_ptr<accumulate>(), cuda_data<scalar_t>(logits),
            grad_probabilities.const_data_ptr<accumulate>(), logits.size(0), logits.size(1),
            cuda_mutable_data<scalar_t>(grad_logits), c10::cuda::getCurrentCUDAStream()));
      });
  return grad_logits;
}

#endif

}  // namespace

// grad_probabilities [C, N]: what the backward op needs, the gradient with respect to the softmax.
TORCH_LIBRARY_FRAGMENT(elite_ops, m) {
  m.def(
      "lovasz_softmax(Tensor logits, Tensor labels, int? ignore_label, str classes) "
      "-> (Tensor loss, Tensor grad_probabilities)");
  m.def(
      "lovasz_softmax_backward(Tensor grad_out, Tensor logits, Tensor grad_probabilities) "
      "-> Tensor");
}

TORCH_LIBRARY_IMPL(elite_ops, CPU, m) {
  m.impl("lovasz_softmax", &lovasz_softmax_cpu);
  m.impl("lovasz_softmax_backward", &lovasz_softmax_backward_cpu);
}

#ifdef ELITE_WITH_CUDA
TORCH_LIBRARY_IMPL(elite_ops, CUDA, m) {
  m.impl("lovasz_softmax", &lovasz_softmax_cuda);
  m.impl("lovasz_softmax_backward", &lovasz_softmax_backward_cuda);
}
#endif

}  // namespace elite_ops
