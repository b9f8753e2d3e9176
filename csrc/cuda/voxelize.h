// The occupied cells of a grid at several scales, and the row of each point's cell.
//
// In phases: the host may want to learn the sizes before it allocates the voxels, or gives buffers
// of a fixed capacity and never asks.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "common/kernel_geometry.h"
#include "common/voxel_grid.h"

namespace elite_ops::cuda {

constexpr int kOfPoints = -1;

// One grid of a call.
struct GridArguments {
  VoxelGrid grid;
  int of;            // kOfPoints; or the number of the grid that this one halves, whose voxels are
                     // then what lies in its cells
  int64_t capacity;  // rows of its buffers
};

struct VoxelizeArguments {
  PointRows points;
  PointRange range;
  int num_grids;
  GridArguments grids[kMaxGrids];  // all of the same batch size
};

// One grid's results. What rows past the number of voxels hold is not defined, except in `inverse`:
// there they have no cell.
struct VoxelRows {
  int32_t* indices;  // [capacity, 4]
  int32_t* inverse;  // [N]; of a halved grid [capacity of the grid that it halves]
  int32_t* counts;   // [capacity]
};

size_t voxelize_workspace_bytes(const VoxelizeArguments& arguments);

// Writes num_voxels [num_grids], at most each grid's capacity: voxels beyond are left out, with
// kCapacityExceeded. So are points whose batch index is outside [0, batch_size), with
// kIndexOutOfRange.
cudaError_t count_voxels(const VoxelizeArguments& arguments, void* workspace, int64_t* num_voxels,
                         int32_t* error_flag, cudaStream_t stream);

// Writes what count_voxels() left in the workspace. `voxels`, on the host, has one element per
// grid; `num_voxels` is on the device.
cudaError_t emit_voxels(const VoxelizeArguments& arguments, void* workspace,
                        const VoxelRows* voxels, const int64_t* num_voxels, cudaStream_t stream);

// Writes the neighbours [K, capacity] of the voxels of the grids that have points, by the index
// that emit_voxels() left in the workspace: all that a bitmap serves in one launch. `neighbors`, on
// the host, has one element per grid.
cudaError_t find_voxel_neighbors(const VoxelizeArguments& arguments, void* workspace,
                                 const VoxelRows* voxels, const int64_t* num_voxels,
                                 const KernelGeometry& kernel, int32_t* const* neighbors,
                                 cudaStream_t stream);

}  // namespace elite_ops::cuda
