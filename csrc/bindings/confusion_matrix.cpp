#include "cpu/confusion_matrix.h"

#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include "check.h"
#ifdef ELITE_WITH_CUDA
#include "cuda.h"
#include "cuda/confusion_matrix.h"
#endif

namespace elite_ops {
namespace {

constexpr const char* kOp = "confusion_matrix";

void check(const at::Tensor& prediction, const at::Tensor& target, int64_t num_classes) {
  check_dim(kOp, "prediction", prediction, 1);
  check_dtype(kOp, "prediction", prediction, at::kLong);
  check_dim(kOp, "target", target, 1);
  check_dtype(kOp, "target", target, at::kLong);
  check_same_device(kOp, "target", target, "prediction", prediction);
  check_size(kOp, "target", target, 0, prediction.size(0));
  TORCH_CHECK_VALUE(num_classes > 0, kOp, ": `num_classes` must be positive, got ", num_classes);
}

at::Tensor confusion_matrix_cpu(const at::Tensor& prediction_, const at::Tensor& target_,
                                int64_t num_classes) {
  check(prediction_, target_, num_classes);
  const at::Tensor prediction = prediction_.contiguous(), target = target_.contiguous();
  at::Tensor matrix = at::zeros({num_classes, num_classes}, prediction.options());
  const int64_t* predicted = prediction.const_data_ptr<int64_t>();
  const int64_t* true_labels = target.const_data_ptr<int64_t>();
  const int64_t bad = cpu::confusion_matrix(predicted, true_labels, prediction.size(0), num_classes,
                                            matrix.mutable_data_ptr<int64_t>());
  TORCH_CHECK_INDEX(bad < 0, kOp, ": `prediction` and `target` must be in [0, ", num_classes,
                    "), got ", predicted[bad], " and ", true_labels[bad], " in row ", bad);
  return matrix;
}

#ifdef ELITE_WITH_CUDA

at::Tensor confusion_matrix_cuda(const at::Tensor& prediction_, const at::Tensor& target_,
                                 int64_t num_classes) {
  check(prediction_, target_, num_classes);
  const c10::cuda::CUDAGuard guard(prediction_.device());
  const at::Tensor prediction = prediction_.contiguous(), target = target_.contiguous();
  at::Tensor matrix = at::zeros({num_classes, num_classes}, prediction.options());
  C10_CUDA_CHECK(cuda::confusion_matrix(
      prediction.const_data_ptr<int64_t>(), target.const_data_ptr<int64_t>(), prediction.size(0),
      num_classes, matrix.mutable_data_ptr<int64_t>(),
      device_error_flag(ErrorSource::kConfusionMatrix), c10::cuda::getCurrentCUDAStream()));
  return matrix;
}

#endif

}  // namespace

TORCH_LIBRARY_FRAGMENT(elite_ops, m) {
  m.def("confusion_matrix(Tensor prediction, Tensor target, int num_classes) -> Tensor");
}
TORCH_LIBRARY_IMPL(elite_ops, CPU, m) { m.impl("confusion_matrix", &confusion_matrix_cpu); }
#ifdef ELITE_WITH_CUDA
TORCH_LIBRARY_IMPL(elite_ops, CUDA, m) { m.impl("confusion_matrix", &confusion_matrix_cuda); }
#endif

}  // namespace elite_ops
