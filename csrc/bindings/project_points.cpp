#include "cpu/project_points.h"

#include <ATen/ops/aminmax.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

#include "check.h"
#include "empty.h"
#ifdef ELITE_WITH_CUDA
#include "cuda.h"
#include "cuda/project_points.h"
#endif

namespace elite_ops {
namespace {

constexpr auto kOp = "project_points";

using OptionalTensor = std::optional<at::Tensor>;

void check(const at::Tensor& points, const at::Tensor& projection,
           const OptionalTensor& batch_index, int64_t height, int64_t width) {
  check_dim(kOp, "points", points, 2);
  check_dtype(kOp, "points", points, at::kFloat);
  TORCH_CHECK_VALUE(points.size(1) >= 3, kOp,
                    ": `points` must have at least the columns x, y, z, got shape ",
                    points.sizes());
  check_row_count(kOp, "points", points.size(0));
  check_dim(kOp, "projection", projection, batch_index.has_value() ? 3 : 2);
  check_dtype(kOp, "projection", projection, at::kFloat);
  check_size(kOp, "projection", projection, projection.dim() - 2, 3);
  check_size(kOp, "projection", projection, projection.dim() - 1, 4);
  check_same_device(kOp, "projection", projection, "points", points);
  if (batch_index.has_value()) {
    check_dim(kOp, "batch_index", *batch_index, 1);
    check_dtype(kOp, "batch_index", *batch_index, at::kLong);
    check_size(kOp, "batch_index", *batch_index, 0, points.size(0));
    check_same_device(kOp, "batch_index", *batch_index, "points", points);
  }
  check_image_size(kOp, height, width);
}

void check_batch_range(const OptionalTensor& batch_index, int64_t batch_size) {
  if (!batch_index.has_value() || batch_index->numel() == 0) return;
  const auto [low, high] = at::aminmax(*batch_index);
  const int64_t first = low.item<int64_t>(), last = high.item<int64_t>();
  TORCH_CHECK_INDEX(first >= 0 && last < batch_size, kOp, ": `batch_index` must be in [0, ",
                    batch_size, "), got values from ", first, " to ", last);
}

// Contiguous inputs and fresh outputs of one call.
struct Call {
  at::Tensor points, projection;
  OptionalTensor batch_index;
  at::Tensor pixel, valid;

  Call(const at::Tensor& points_, const at::Tensor& projection_, const OptionalTensor& batch_index_)
      : points(points_.contiguous()), projection(projection_.contiguous()) {
    if (batch_index_.has_value()) batch_index = batch_index_->contiguous();
    pixel = empty({points.size(0), 2}, points.options().dtype(at::kInt));
    valid = empty({points.size(0)}, points.options().dtype(at::kBool));
  }

  const int64_t* batch_data() const {
    return batch_index.has_value() ? batch_index->const_data_ptr<int64_t>() : nullptr;
  }
};

std::tuple<at::Tensor, at::Tensor> project_points_cpu(const at::Tensor& points,
                                                      const at::Tensor& projection,
                                                      const OptionalTensor& batch_index,
                                                      int64_t height, int64_t width) {
  check(points, projection, batch_index, height, width);
  check_batch_range(batch_index, projection.size(0));
  Call call(points, projection, batch_index);
  cpu::project_points(call.points.const_data_ptr<float>(), call.points.size(0), call.points.size(1),
                      call.projection.const_data_ptr<float>(), call.batch_data(),
                      static_cast<int32_t>(height), static_cast<int32_t>(width),
                      call.pixel.mutable_data_ptr<int32_t>(), call.valid.mutable_data_ptr<bool>());
  return {call.pixel, call.valid};
}

#ifdef ELITE_WITH_CUDA
std::tuple<at::Tensor, at::Tensor> project_points_cuda(const at::Tensor& points,
                                                       const at::Tensor& projection,
                                                       const OptionalTensor& batch_index,
                                                       int64_t height, int64_t width) {
  check(points, projection, batch_index, height, width);
  const c10::cuda::CUDAGuard guard(points.device());
  Call call(points, projection, batch_index);
  C10_CUDA_CHECK(cuda::project_points(
      call.points.const_data_ptr<float>(), call.points.size(0), call.points.size(1),
      call.projection.const_data_ptr<float>(), batch_index.has_value() ? projection.size(0) : 1,
      call.batch_data(), static_cast<int32_t>(height), static_cast<int32_t>(width),
      call.pixel.mutable_data_ptr<int32_t>(), call.valid.mutable_data_ptr<bool>(),
      device_error_flag(ErrorSource::kProjectPoints), c10::cuda::getCurrentCUDAStream()));
  return {call.pixel, call.valid};
}
#endif

}  // namespace

TORCH_LIBRARY_FRAGMENT(elite_ops, m) {
  m.def(
      "project_points(Tensor points, Tensor projection, Tensor? batch_index, int height, "
      "int width) -> (Tensor pixel, Tensor valid)");
}
TORCH_LIBRARY_IMPL(elite_ops, CPU, m) { m.impl("project_points", &project_points_cpu); }
#ifdef ELITE_WITH_CUDA
TORCH_LIBRARY_IMPL(elite_ops, CUDA, m) { m.impl("project_points", &project_points_cuda); }
#endif

}  // namespace elite_ops
