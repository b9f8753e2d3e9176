#include "cpu/voxelize.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <cmath>
#include <optional>
#include <tuple>
#include <vector>

#include "check.h"
#include "grid.h"

namespace elite_ops {
namespace {

constexpr auto kOp = "voxelize";

// One entry per scale: indices [V, 4], inverse [N], counts [V], num_voxels [].
using Result = std::tuple<std::vector<at::Tensor>, std::vector<at::Tensor>, std::vector<at::Tensor>,
                          std::vector<at::Tensor>>;

PointRange make_range(c10::ArrayRef<double> bounds) {
  TORCH_CHECK_VALUE(bounds.size() == 6, kOp, ": `point_cloud_range` must have 6 entries, got ",
                    bounds);
  PointRange range;
  for (int axis = 0; axis < 3; ++axis) {
    range.min[axis] = static_cast<float>(bounds[axis]);
    range.max[axis] = static_cast<float>(bounds[axis + 3]);
    range.extent[axis] = static_cast<float>(bounds[axis + 3] - bounds[axis]);
    TORCH_CHECK_VALUE(
        range.min[axis] < range.max[axis] && std::isfinite(range.extent[axis]), kOp,
        ": `point_cloud_range` must be finite with each minimum below its maximum, got ", bounds);
  }
  return range;
}

VoxelGrid make_grid(c10::IntArrayRef fine, int64_t scale, int64_t batch_size, bool nested) {
  VoxelGrid grid;
  std::vector<int64_t> shape;
  for (int axis = 0; axis < 3; ++axis) {
    shape.push_back((fine[axis] + scale - 1) / scale);
    grid.shape[axis] = static_cast<int32_t>(shape[axis]);
    grid.cells[axis] = static_cast<int32_t>(nested ? fine[axis] : shape[axis]);
  }
  grid.divisor = nested ? static_cast<int32_t>(scale) : 1;
  grid.batch_size = batch_size;
  int64_t num_keys = saturating_product(batch_size, grid.words_per_column() * 64);
  for (int axis = 0; axis < 2; ++axis) num_keys = saturating_product(num_keys, shape[axis]);
  check_num_keys(kOp, shape, batch_size, num_keys);
  return grid;
}

// Checks every argument; the grids of the scales.
std::vector<VoxelGrid> check(const at::Tensor& points, const std::optional<at::Tensor>& batch_index,
                             c10::IntArrayRef spatial_shape, c10::IntArrayRef scales,
                             int64_t batch_size, bool nested) {
  check_dim(kOp, "points", points, 2);
  TORCH_CHECK_VALUE(points.size(1) >= 3, kOp, ": `points` must have at least 3 columns, got shape ",
                    points.sizes());
  check_dtype(kOp, "points", points, at::kFloat);
  check_row_count(kOp, "points", points.size(0));
  if (batch_index) {
    check_dim(kOp, "batch_index", *batch_index, 1);
    check_size(kOp, "batch_index", *batch_index, 0, points.size(0));
    check_dtype(kOp, "batch_index", *batch_index, at::kLong);
    check_same_device(kOp, "batch_index", *batch_index, "points", points);
  }
  check_grid_shape(kOp, spatial_shape, batch_size);
  TORCH_CHECK_VALUE(!scales.empty(), kOp, ": `scales` must not be empty");
  std::vector<VoxelGrid> grids;
  for (const int64_t scale : scales) {
    TORCH_CHECK_VALUE(scale >= 1 && scale <= kMaxCellsPerAxis, kOp,
                      ": `scales` must be between 1 and 2^24, got ", scales);
    grids.push_back(make_grid(spatial_shape, scale, batch_size, nested));
  }
  return grids;
}

Result voxelize_cpu(const at::Tensor& points_, const std::optional<at::Tensor>& batch_index_,
                    c10::ArrayRef<double> point_cloud_range, c10::IntArrayRef spatial_shape,
                    c10::IntArrayRef scales, int64_t batch_size, bool nested) {
  const PointRange range = make_range(point_cloud_range);
  const std::vector<VoxelGrid> grids =
      check(points_, batch_index_, spatial_shape, scales, batch_size, nested);
  const at::Tensor points = points_.contiguous();
  const at::Tensor batch_index = batch_index_ ? batch_index_->contiguous() : at::Tensor();
  const cpu::PointRows rows{points.const_data_ptr<float>(), points.size(0), points.size(1),
                            batch_index_ ? batch_index.const_data_ptr<int64_t>() : nullptr};
  const int64_t outside = cpu::first_outside_batch(rows, batch_size);
  TORCH_CHECK_INDEX(outside == rows.num_points, kOp,
                    ": `batch_index` must be at least 0 and below `batch_size` (", batch_size,
                    "), got ", rows.batch_index[outside], " at row ", outside);
  Result result;
  auto& [all_indices, all_inverse, all_counts, all_num_voxels] = result;
  const auto options = points.options().dtype(at::kInt);
  for (const VoxelGrid& grid : grids) {
    at::Tensor inverse = at::empty({rows.num_points}, options), indices, counts;
    const auto allocate = [&](int64_t num_voxels) {
      indices = at::empty({num_voxels, 4}, options);
      counts = at::empty({num_voxels}, options);
      return cpu::VoxelRows{indices.mutable_data_ptr<int32_t>(),
                            counts.mutable_data_ptr<int32_t>()};
    };
    at::Tensor num_voxels = at::empty({}, options.dtype(at::kLong));
    *num_voxels.mutable_data_ptr<int64_t>() =
        cpu::voxelize(rows, range, grid, inverse.mutable_data_ptr<int32_t>(), allocate);
    all_indices.push_back(indices);
    all_inverse.push_back(inverse);
    all_counts.push_back(counts);
    all_num_voxels.push_back(num_voxels);
  }
  return result;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(elite_ops, m) {
  m.def(
      "voxelize(Tensor points, Tensor? batch_index, float[] point_cloud_range, "
      "SymInt[] spatial_shape, int[] scales, SymInt batch_size, bool nested) "
      "-> (Tensor[] indices, Tensor[] inverse, Tensor[] counts, Tensor[] num_voxels)");
}
TORCH_LIBRARY_IMPL(elite_ops, CPU, m) { m.impl("voxelize", &voxelize_cpu); }

}  // namespace elite_ops
