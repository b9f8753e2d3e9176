// The voxels of a point cloud in order of first appearance, with limits on their number and points.
#pragma once

#include <cstdint>
#include <functional>

#include "common/cell_grid.h"
#include "cpu/voxelize.h"

namespace elite_ops::cpu {

// Each point's voxel, and its place among the points of that voxel; -1 where it has none.
struct PointPlaces {
  int32_t* rows;   // [N]
  int32_t* slots;  // [N]
};

// Numbers the voxels: sample by sample, and in each in the order in which points enter them. Writes
// `places`, and the voxels to where `allocate(V)` says, which is called once. Returns V. Batch
// indices must be in [0, batch_size).
//
// Bytes, of N points of C channels in V voxels of T slots: 4 N C + 8 N for keys that are written
// and read, 8 N of places, and a table of 8 to 32 bytes a voxel (16 where keys need 64 bits) that
// every point looks at, once, unless the point before it is in the same voxel. 120,000 points take
// 6 MB in order, and as many probes of a table of 1 MB, about that of the second cache level: the
// probes decide, at some 3 ns each. fill_slots() then writes 4 V T C bytes, which is more than all
// the rest where T is large.
int64_t hard_voxelize(const PointRows& points, const CellGrid& grid, const VoxelLimits& limits,
                      const PointPlaces& places, const std::function<VoxelRows(int64_t)>& allocate);

}  // namespace elite_ops::cpu
