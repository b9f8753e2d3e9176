// The voxels of a point cloud in order of first appearance, with limits on their number and points.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "common/cell_grid.h"
#include "common/voxel_grid.h"

namespace elite_ops::cuda {

struct HardVoxelizeArguments {
  PointRows points;
  CellGrid grid;
  VoxelLimits limits;
};

struct HardVoxelRows {
  int32_t* indices;  // [rows, 4]
  int32_t* counts;   // [rows]
};

// Each point's voxel, and its place among the points of that voxel; -1 where it has none.
struct PointPlaces {
  int32_t* rows;   // [N]
  int32_t* slots;  // [N]
};

size_t hard_voxelize_workspace_bytes(const HardVoxelizeArguments& arguments);

// Numbers the voxels: sample by sample, and in each in the order in which points enter them. Writes
// `num_voxels` and `places`. Points whose batch index is outside [0, batch_size) are left out, with
// kIndexOutOfRange.
//
// A stable sort of the points by cell leaves the first point of each voxel in front of the others,
// in their order; flags of these first points, summed in the order of the points, number the
// voxels. Bytes, of N points of C channels: 4 N C are read; the sort moves 24 N for each 8 bits of
// a key, four times for 1408 x 1600 x 40 cells; keys, flags, sums and places are some 80 N. 120,000
// points are 23 MB, 12 us at 2 TB/s: less than the launches take (5 kernels, a sort, two sums;
// where there are samples, another kernel and sort). fill_slots() then writes 4 V T C bytes.
cudaError_t number_hard_voxels(const HardVoxelizeArguments& arguments, void* workspace,
                               const PointPlaces& places, int64_t* num_voxels, int32_t* error_flag,
                               cudaStream_t stream);

// Writes the voxels that number_hard_voxels() left in the workspace.
cudaError_t emit_hard_voxels(const HardVoxelizeArguments& arguments, void* workspace,
                             const HardVoxelRows& voxels, cudaStream_t stream);

}  // namespace elite_ops::cuda
