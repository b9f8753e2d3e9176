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
// Bytes, of N points of C channels: 4 N C read, 8 N of keys that are written and read, 8 N of
// places, 24 for each voxel, and a table of 8 to 16 for each voxel that there may be, which every
// point looks into once: for 120,000 points and 60,000 voxels 5 MB in order, and as many probes of
// 512 KB and of the voxels' keys. The probes, and not the bytes, decide. fill_slots() then writes
// 4 V T C bytes, which is more than all the rest where T is large: 21 MB for 42,000 voxels of 32.
int64_t hard_voxelize(const PointRows& points, const CellGrid& grid, const VoxelLimits& limits,
                      const PointPlaces& places, const std::function<VoxelRows(int64_t)>& allocate);

}  // namespace elite_ops::cpu
