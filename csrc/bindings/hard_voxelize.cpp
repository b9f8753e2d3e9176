#include "cpu/hard_voxelize.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <tuple>

#include "check.h"
#include "contiguous.h"
#include "empty.h"
#include "grid.h"
#include "op.h"
#include "points.h"
#ifdef ELITE_WITH_CUDA
#include "cuda/hard_voxelize.h"
#include "device_sizes.h"
#endif

namespace elite_ops {
namespace {

// indices [V, 4], counts [V], point_rows [N], point_slots [N], num_voxels [].
using Result = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

struct HardVoxelize {
  static constexpr auto kName = "hard_voxelize";

  at::Tensor points;
  at::Tensor batch_index;
  CellGrid grid;
  VoxelLimits limits;
  bool padded;

  static HardVoxelize check(const at::Tensor& points, const std::optional<at::Tensor>& batch_index,
                            c10::ArrayRef<double> minimum, c10::ArrayRef<double> voxel_size,
                            c10::IntArrayRef spatial_shape, int64_t batch_size, int64_t max_points,
                            int64_t max_voxels, bool padded) {
    TORCH_CHECK_TYPE(points.scalar_type() == at::kFloat, kName,
                     ": `points` must be Float, as cells are computed from float32 coordinates, "
                     "got ",
                     points.scalar_type());
    check_points(kName, points, batch_index);
    const CellGrid grid = checked_grid(minimum, voxel_size, spatial_shape, batch_size);
    check_limit("max_points", max_points);
    check_limit("max_voxels", max_voxels);
    if (padded) {
      const int64_t rows = saturating_product(batch_size, max_voxels);
      TORCH_CHECK_VALUE(rows < std::numeric_limits<int32_t>::max(), kName,
                        ": `max_voxels` times `batch_size` must be below 2^31 - 1, got ",
                        max_voxels, " and ", batch_size);
    }
    return {points.contiguous(), contiguous(batch_index), grid, {max_points, max_voxels}, padded};
  }

  Result run_cpu() const {
    check_samples(kName, rows(), grid.batch_size);
    auto [point_rows, point_slots] = allocate_places();
    at::Tensor indices, counts;
    const int64_t num_voxels = cpu::hard_voxelize(
        rows(), grid, limits,
        {mutable_data<int32_t>(point_rows), mutable_data<int32_t>(point_slots)}, [&](int64_t size) {
          indices = empty({padded ? capacity() : size, 4}, options());
          counts = empty({padded ? capacity() : size}, options());
          indices.narrow(0, size, indices.size(0) - size).fill_(-1);
          counts.narrow(0, size, counts.size(0) - size).zero_();
          return cpu::VoxelRows{mutable_data<int32_t>(indices), mutable_data<int32_t>(counts)};
        });
    at::Tensor size = empty({}, options().dtype(at::kLong));
    *mutable_data<int64_t>(size) = num_voxels;
    return {indices, counts, point_rows, point_slots, size};
  }

#ifdef ELITE_WITH_CUDA
  Result run_cuda() const {
    const auto stream = c10::cuda::getCurrentCUDAStream();
    const cuda::HardVoxelizeArguments arguments{rows(), grid, limits};
    const auto bytes = static_cast<int64_t>(cuda::hard_voxelize_workspace_bytes(arguments));
    at::Tensor workspace = empty({bytes}, options().dtype(at::kByte));
    DeviceSizes size(1, options());
    auto [point_rows, point_slots] = allocate_places();
    C10_CUDA_CHECK(cuda::number_hard_voxels(
        arguments, workspace.mutable_data_ptr(),
        {mutable_data<int32_t>(point_rows), mutable_data<int32_t>(point_slots)}, size.data(),
        device_error_flag(ErrorSource::kHardVoxelize), stream));
    const int64_t rows = padded ? capacity() : *data<int64_t>(size.read(stream));
    at::Tensor indices = empty({rows, 4}, options()), counts = empty({rows}, options());
    if (padded) {
      indices.fill_(-1);
      counts.zero_();
    }
    C10_CUDA_CHECK(cuda::emit_hard_voxels(
        arguments, workspace.mutable_data_ptr(),
        {mutable_data<int32_t>(indices), mutable_data<int32_t>(counts)}, stream));
    return {indices, counts, point_rows, point_slots, size.sizes().select(0, 0)};
  }
#endif

 private:
  static CellGrid checked_grid(c10::ArrayRef<double> minimum, c10::ArrayRef<double> voxel_size,
                               c10::IntArrayRef shape, int64_t batch_size) {
    TORCH_CHECK_VALUE(minimum.size() == 3, kName, ": `minimum` must have 3 entries, got ", minimum);
    TORCH_CHECK_VALUE(voxel_size.size() == 3, kName, ": `voxel_size` must have 3 entries, got ",
                      voxel_size);
    check_grid_shape(kName, "spatial_shape", shape, batch_size);
    int64_t num_keys = batch_size;
    CellGrid grid{};
    grid.batch_size = batch_size;
    for (int axis = 0; axis < 3; ++axis) {
      grid.minimum[axis] = static_cast<float>(minimum[axis]);
      grid.voxel_size[axis] = static_cast<float>(voxel_size[axis]);
      grid.shape[axis] = static_cast<int32_t>(shape[axis]);
      TORCH_CHECK_VALUE(std::isfinite(grid.minimum[axis]), kName,
                        ": `minimum` must be finite, got ", minimum);
      TORCH_CHECK_VALUE(grid.voxel_size[axis] > 0 && std::isfinite(grid.voxel_size[axis]), kName,
                        ": `voxel_size` must be positive and finite, got ", voxel_size);
      num_keys = saturating_product(num_keys, shape[axis]);
    }
    check_num_keys(kName, shape, batch_size, num_keys);
    return grid;
  }

  static void check_limit(const char* name, int64_t limit) {
    TORCH_CHECK_VALUE(limit >= 1 && limit < std::numeric_limits<int32_t>::max(), kName, ": `", name,
                      "` must be between 1 and 2^31 - 2, got ", limit);
  }

  PointRows rows() const { return point_rows(points, batch_index); }
  at::TensorOptions options() const { return points.options().dtype(at::kInt); }
  int64_t capacity() const { return grid.batch_size * limits.max_voxels; }
  std::tuple<at::Tensor, at::Tensor> allocate_places() const {
    return {empty({points.size(0)}, options()), empty({points.size(0)}, options())};
  }
};

}  // namespace

ELITE_OP(HardVoxelize,
         "hard_voxelize(Tensor points, Tensor? batch_index, float[] minimum, float[] voxel_size, "
         "SymInt[] spatial_shape, SymInt batch_size, SymInt max_points, SymInt max_voxels, "
         "bool padded) -> (Tensor indices, Tensor counts, Tensor point_rows, Tensor point_slots, "
         "Tensor num_voxels)");

}  // namespace elite_ops
