#include "cpu/lovasz_softmax.h"

#include <ATen/OpMathType.h>
#include <ATen/ops/zeros.h>

#include <limits>
#include <optional>
#include <string_view>
#include <tuple>

#include "check.h"
#include "common/ignore_label.h"
#include "compute_type.h"
#include "empty.h"
#include "op.h"
#ifdef ELITE_WITH_CUDA
#include "cuda/lovasz_softmax.h"
#endif

namespace elite_ops {
namespace {

struct LovaszSoftmax {
  static constexpr auto kName = "lovasz_softmax";
  using Result = std::tuple<at::Tensor, at::Tensor>;

  at::Tensor logits;  // [N, C]
  at::Tensor labels;  // [N]
  std::optional<int64_t> ignore_label;
  bool only_present;

  static LovaszSoftmax check(const at::Tensor& logits, const at::Tensor& labels,
                             std::optional<int64_t> ignore_label, std::string_view classes) {
    check_dim(kName, "logits", logits, 2);
    check_dim(kName, "labels", labels, 1);
    check_floating(kName, "logits", logits);
    check_dtype(kName, "labels", labels, at::kLong);
    check_same_device(kName, "labels", labels, "logits", logits);
    check_size(kName, "labels", labels, 0, logits.size(0));
    check_row_count(kName, "logits", logits.size(0));
    TORCH_CHECK_VALUE(classes == "present" || classes == "all", kName,
                      ": `classes` must be \"present\" or \"all\", got \"", classes, "\"");
    return {logits.contiguous(), labels.contiguous(), ignore_label, classes == "present"};
  }

  Result run_cpu() const {
    check_label_range();
    const at::Tensor computed = as_computed(logits);
    at::Tensor loss = empty({}, computed.options());
    at::Tensor grad_probabilities = at::zeros({num_classes(), num_points()}, computed.options());
    dispatch_cpu(computed.scalar_type(), [&](auto number) {
      using T = decltype(number);
      *mutable_data<T>(loss) =
          cpu::lovasz_softmax(data<T>(computed), data<int64_t>(labels), num_points(), num_classes(),
                              ignored(), only_present, mutable_data<T>(grad_probabilities));
    });
    return {loss, grad_probabilities};
  }

#ifdef ELITE_WITH_CUDA
  Result run_cuda() const {
    TORCH_CHECK_VALUE(logits.numel() <= std::numeric_limits<int32_t>::max(), kName,
                      ": `logits` must have fewer than 2^31 elements, got ", logits.numel());
    const auto options = logits.options().dtype(at::toOpMathType(logits.scalar_type()));
    at::Tensor loss = logits.numel() == 0 ? at::zeros({}, options) : empty({}, options);
    at::Tensor grad_probabilities = empty({num_classes(), num_points()}, options);
    dispatch_cuda(logits.scalar_type(), [&](auto number) {
      using T = decltype(number);
      using Sum = cuda::accumulate_t<T>;
      const size_t bytes = cuda::lovasz_softmax_workspace_bytes<T>(num_points(), num_classes());
      at::Tensor workspace = empty({static_cast<int64_t>(bytes)}, options.dtype(at::kByte));
      C10_CUDA_CHECK(cuda::lovasz_softmax(
          data<T>(logits), data<int64_t>(labels), num_points(), num_classes(), ignored(),
          only_present, workspace.mutable_data_ptr(), mutable_data<Sum>(loss),
          mutable_data<Sum>(grad_probabilities), device_error_flag(ErrorSource::kLovaszSoftmax),
          c10::cuda::getCurrentCUDAStream()));
    });
    return {loss, grad_probabilities};
  }
#endif

 private:
  int64_t num_points() const { return logits.size(0); }
  int64_t num_classes() const { return logits.size(1); }
  int64_t ignored() const { return ignore_label.value_or(kNoIgnoreLabel); }

  void check_label_range() const {
    const auto* label = data<int64_t>(labels);
    for (int64_t i = 0; i < num_points(); ++i) {
      const bool is_class = label[i] >= 0 && label[i] < num_classes();
      TORCH_CHECK_INDEX(is_class || label[i] == ignore_label, kName, ": `labels` must lie in [0, ",
                        num_classes(), ") or be `ignore_label`, got ", label[i], " at row ", i);
    }
  }
};

struct LovaszSoftmaxBackward {
  static constexpr auto kName = "lovasz_softmax_backward";

  at::Tensor grad_out;            // []
  at::Tensor logits;              // [N, C]
  at::Tensor grad_probabilities;  // [C, N]: the gradient with respect to the softmax

  static LovaszSoftmaxBackward check(const at::Tensor& grad_out, const at::Tensor& logits,
                                     const at::Tensor& grad_probabilities) {
    check_dim(kName, "logits", logits, 2);
    check_dim(kName, "grad_out", grad_out, 0);
    check_dim(kName, "grad_probabilities", grad_probabilities, 2);
    check_floating(kName, "logits", logits);
    const auto dtype = at::toOpMathType(logits.scalar_type());
    check_dtype(kName, "grad_out", grad_out, dtype);
    check_dtype(kName, "grad_probabilities", grad_probabilities, dtype);
    check_same_device(kName, "grad_out", grad_out, "logits", logits);
    check_same_device(kName, "grad_probabilities", grad_probabilities, "logits", logits);
    check_size(kName, "grad_probabilities", grad_probabilities, 0, logits.size(1));
    check_size(kName, "grad_probabilities", grad_probabilities, 1, logits.size(0));
    return {grad_out, logits.contiguous(), grad_probabilities.contiguous()};
  }

  at::Tensor run_cpu() const {
    const at::Tensor computed = as_computed(logits);
    at::Tensor grad_logits = empty(computed.sizes(), computed.options());
    dispatch_cpu(computed.scalar_type(), [&](auto number) {
      using T = decltype(number);
      cpu::lovasz_softmax_backward(*data<T>(grad_out), data<T>(computed),
                                   data<T>(grad_probabilities), logits.size(0), logits.size(1),
                                   mutable_data<T>(grad_logits));
    });
    return grad_logits.to(logits.scalar_type());
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    at::Tensor grad_logits = empty(logits.sizes(), logits.options());
    dispatch_cuda(logits.scalar_type(), [&](auto number) {
      using T = decltype(number);
      using Sum = cuda::accumulate_t<T>;
      C10_CUDA_CHECK(cuda::lovasz_softmax_backward(
          data<Sum>(grad_out), data<T>(logits), data<Sum>(grad_probabilities), logits.size(0),
          logits.size(1), mutable_data<T>(grad_logits), c10::cuda::getCurrentCUDAStream()));
    });
    return grad_logits;
  }
#endif
};

}  // namespace

ELITE_OP(LovaszSoftmax,
         "lovasz_softmax(Tensor logits, Tensor labels, int? ignore_label, str classes) "
         "-> (Tensor loss, Tensor grad_probabilities)");
ELITE_OP(LovaszSoftmaxBackward,
         "lovasz_softmax_backward(Tensor grad_out, Tensor logits, Tensor grad_probabilities) "
         "-> Tensor");

}  // namespace elite_ops
