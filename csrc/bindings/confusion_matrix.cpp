#include "cpu/confusion_matrix.h"

#include <ATen/ops/zeros.h>

#include "check.h"
#include "op.h"
#ifdef ELITE_WITH_CUDA
#include "cuda/confusion_matrix.h"
#endif

namespace elite_ops {
namespace {

struct ConfusionMatrix {
  static constexpr auto kName = "confusion_matrix";
  static constexpr int64_t kMostClasses = 1 << 14;  // a matrix of 2 GiB

  at::Tensor prediction;  // [N]
  at::Tensor target;      // [N]
  int64_t num_classes;

  static ConfusionMatrix check(const at::Tensor& prediction, const at::Tensor& target,
                               int64_t num_classes) {
    check_dim(kName, "prediction", prediction, 1);
    check_dtype(kName, "prediction", prediction, at::kLong);
    check_dim(kName, "target", target, 1);
    check_dtype(kName, "target", target, at::kLong);
    check_same_device(kName, "target", target, "prediction", prediction);
    check_size(kName, "target", target, 0, prediction.size(0));
    TORCH_CHECK_VALUE(num_classes > 0, kName, ": `num_classes` must be positive, got ",
                      num_classes);
    TORCH_CHECK_VALUE(num_classes <= kMostClasses, kName, ": `num_classes` must be at most ",
                      kMostClasses, " (a matrix of 2147483648 bytes), got ", num_classes);
    return {prediction.contiguous(), target.contiguous(), num_classes};
  }

  at::Tensor run_cpu() const {
    at::Tensor matrix = zeros();
    const auto *predicted = data<int64_t>(prediction), *true_labels = data<int64_t>(target);
    const int64_t bad = cpu::confusion_matrix(predicted, true_labels, prediction.size(0),
                                              num_classes, mutable_data<int64_t>(matrix));
    TORCH_CHECK_INDEX(bad < 0, kName, ": `prediction` and `target` must be in [0, ", num_classes,
                      "), got ", predicted[bad], " and ", true_labels[bad], " in row ", bad);
    return matrix;
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    at::Tensor matrix = zeros();
    C10_CUDA_CHECK(cuda::confusion_matrix(
        data<int64_t>(prediction), data<int64_t>(target), prediction.size(0), num_classes,
        mutable_data<int64_t>(matrix), device_error_flag(ErrorSource::kConfusionMatrix),
        c10::cuda::getCurrentCUDAStream()));
    return matrix;
  }
#endif

 private:
  at::Tensor zeros() const { return at::zeros({num_classes, num_classes}, prediction.options()); }
};

}  // namespace

ELITE_OP(ConfusionMatrix,
         "confusion_matrix(Tensor prediction, Tensor target, int num_classes) -> Tensor");

}  // namespace elite_ops
