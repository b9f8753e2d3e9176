#include "cpu/project_points.h"

#include <ATen/ops/aminmax.h>

#include <optional>
#include <tuple>

#include "check.h"
#include "contiguous.h"
#include "empty.h"
#include "op.h"
#ifdef ELITE_WITH_CUDA
#include "cuda/project_points.h"
#endif

namespace elite_ops {
namespace {

struct ProjectPoints {
  static constexpr auto kName = "project_points";
  using Result = std::tuple<at::Tensor, at::Tensor>;

  at::Tensor points;       // [N, 3 + F]
  at::Tensor projection;   // [3, 4], or [B, 3, 4] where there is a batch index
  at::Tensor batch_index;  // [N] or undefined
  int32_t height, width;

  static ProjectPoints check(const at::Tensor& points, const at::Tensor& projection,
                             const std::optional<at::Tensor>& batch_index, int64_t height,
                             int64_t width) {
    check_dim(kName, "points", points, 2);
    check_dtype(kName, "points", points, at::kFloat);
    TORCH_CHECK_VALUE(points.size(1) >= 3, kName,
                      ": `points` must have at least the columns x, y, z, got shape ",
                      points.sizes());
    check_row_count(kName, "points", points.size(0));
    check_dim(kName, "projection", projection, batch_index ? 3 : 2);
    check_dtype(kName, "projection", projection, at::kFloat);
    check_size(kName, "projection", projection, projection.dim() - 2, 3);
    check_size(kName, "projection", projection, projection.dim() - 1, 4);
    check_same_device(kName, "projection", projection, "points", points);
    if (batch_index) {
      check_dim(kName, "batch_index", *batch_index, 1);
      check_dtype(kName, "batch_index", *batch_index, at::kLong);
      check_size(kName, "batch_index", *batch_index, 0, points.size(0));
      check_same_device(kName, "batch_index", *batch_index, "points", points);
    }
    check_image_size(kName, height, width);
    return {points.contiguous(), projection.contiguous(), contiguous(batch_index),
            static_cast<int32_t>(height), static_cast<int32_t>(width)};
  }

  Result run_cpu() const {
    check_batch_range();
    auto [pixel, valid] = allocate();
    cpu::project_points(data<float>(points), points.size(0), points.size(1),
                        data<float>(projection), data<int64_t>(batch_index), height, width,
                        mutable_data<int32_t>(pixel), mutable_data<bool>(valid));
    return {pixel, valid};
  }

#ifdef ELITE_WITH_CUDA
  Result run_cuda() const {
    auto [pixel, valid] = allocate();
    C10_CUDA_CHECK(cuda::project_points(
        data<float>(points), points.size(0), points.size(1), data<float>(projection), batch_size(),
        data<int64_t>(batch_index), height, width, mutable_data<int32_t>(pixel),
        mutable_data<bool>(valid), device_error_flag(ErrorSource::kProjectPoints),
        c10::cuda::getCurrentCUDAStream()));
    return {pixel, valid};
  }
#endif

 private:
  int64_t batch_size() const { return batch_index.defined() ? projection.size(0) : 1; }

  void check_batch_range() const {
    if (!batch_index.defined() || batch_index.numel() == 0) return;
    const auto [low, high] = at::aminmax(batch_index);
    const int64_t first = *data<int64_t>(low), last = *data<int64_t>(high);
    TORCH_CHECK_INDEX(first >= 0 && last < batch_size(), kName, ": `batch_index` must be in [0, ",
                      batch_size(), "), got values from ", first, " to ", last);
  }

  Result allocate() const {
    return {empty({points.size(0), 2}, points.options().dtype(at::kInt)),
            empty({points.size(0)}, points.options().dtype(at::kBool))};
  }
};

}  // namespace

ELITE_OP(ProjectPoints,
         "project_points(Tensor points, Tensor projection, Tensor? batch_index, int height, "
         "int width) -> (Tensor pixel, Tensor valid)");

}  // namespace elite_ops
