// Checks of points and of the box that they lie in, shared by the bindings of the voxel ops.
#pragma once

#include <cmath>
#include <optional>

#include "check.h"
#include "common/voxel_grid.h"
#include "cpu/voxelize.h"
#include "op.h"

namespace elite_ops {

inline void check_points(const char* op, const at::Tensor& points,
                         const std::optional<at::Tensor>& batch_index) {
  check_dim(op, "points", points, 2);
  TORCH_CHECK_VALUE(points.size(1) >= 3, op, ": `points` must have at least 3 columns, got shape ",
                    points.sizes());
  check_dtype(op, "points", points, at::kFloat);
  check_row_count(op, "points", points.size(0));
  if (!batch_index) return;
  check_dim(op, "batch_index", *batch_index, 1);
  check_size(op, "batch_index", *batch_index, 0, points.size(0));
  check_dtype(op, "batch_index", *batch_index, at::kLong);
  check_same_device(op, "batch_index", *batch_index, "points", points);
}

// The points as kernels take them; both tensors are contiguous.
inline PointRows point_rows(const at::Tensor& points, const at::Tensor& batch_index) {
  return {data<float>(points), points.size(0), points.size(1), data<int64_t>(batch_index)};
}

// Of points on the CPU. CUDA kernels report it.
inline void check_samples(const char* op, const PointRows& points, int64_t batch_size) {
  const int64_t outside = cpu::first_outside_batch(points, batch_size);
  TORCH_CHECK_INDEX(outside == points.num_points, op,
                    ": `batch_index` must be at least 0 and below `batch_size` (", batch_size,
                    "), got ", points.sample(outside), " at row ", outside);
}

inline PointRange checked_range(const char* op, c10::ArrayRef<double> bounds) {
  TORCH_CHECK_VALUE(bounds.size() == 6, op, ": `point_cloud_range` must have 6 entries, got ",
                    bounds);
  PointRange range;
  for (int axis = 0; axis < 3; ++axis) {
    range.min[axis] = static_cast<float>(bounds[axis]);
    range.max[axis] = static_cast<float>(bounds[axis + 3]);
    range.extent[axis] = static_cast<float>(bounds[axis + 3] - bounds[axis]);
    TORCH_CHECK_VALUE(
        range.min[axis] < range.max[axis] && std::isfinite(range.extent[axis]), op,
        ": `point_cloud_range` must be finite with each minimum below its maximum, got ", bounds);
  }
  return range;
}

}  // namespace elite_ops
