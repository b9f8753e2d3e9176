// The occupied cells of a grid, and the row of each point's cell.
#pragma once

#include <cstdint>
#include <functional>

#include "common/voxel_grid.h"

namespace elite_ops::cpu {

struct VoxelRows {
  int32_t* indices;  // [V, 4]
  int32_t* counts;   // [V]
};

// The first point whose batch index is not in [0, batch_size); num_points if there is none.
int64_t first_outside_batch(const PointRows& points, int64_t batch_size);

// Writes inverse [N], and the voxels to where `allocate(V)` says, which is called once. Returns V.
int64_t voxelize(const PointRows& points, const PointRange& range, const VoxelGrid& grid,
                 int32_t* inverse, const std::function<VoxelRows(int64_t)>& allocate);

// The same for the voxels [num_voxels, 4] of a grid, taken as points in the grid that halves it.
int64_t halve_voxels(const int32_t* indices, int64_t num_voxels, const VoxelGrid& halved,
                     int32_t* inverse, const std::function<VoxelRows(int64_t)>& allocate);

}  // namespace elite_ops::cpu
