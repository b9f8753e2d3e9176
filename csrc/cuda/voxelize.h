// The occupied cells of a grid at several scales, and the row of each point's cell.
//
// In two phases, as the host has to learn the sizes before it can allocate the voxels, and a third
// one for kernel maps.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "common/kernel_shape.h"
#include "common/voxel_grid.h"

namespace elite_ops::cuda {

struct VoxelizeArguments {
  PointRows points;
  PointRange range;
  int num_scales;
  VoxelGrid grids[kMaxScales];  // all of the same batch size
};

// One scale's results.
struct VoxelRows {
  int32_t* indices;  // [V, 4]
  int32_t* inverse;  // [N]
  int32_t* counts;   // [V]
};

size_t voxelize_workspace_bytes(const VoxelizeArguments& arguments);

// Writes num_voxels [num_scales]. Points whose batch index is outside [0, batch_size) are left out,
// with kIndexOutOfRange.
cudaError_t count_voxels(const VoxelizeArguments& arguments, void* workspace, int64_t* num_voxels,
                         int32_t* error_flag, cudaStream_t stream);

// Writes what count_voxels() left in the workspace. `voxels` and `num_voxels` are on the host, one
// element per scale.
cudaError_t emit_voxels(const VoxelizeArguments& arguments, void* workspace,
                        const VoxelRows* voxels, const int64_t* num_voxels, cudaStream_t stream);

// Writes the neighbours [K, V] of each scale's voxels, by the index that emit_voxels() left in the
// workspace: all scales that a bitmap serves in one launch. `neighbors` is on the host.
cudaError_t find_voxel_neighbors(const VoxelizeArguments& arguments, void* workspace,
                                 const VoxelRows* voxels, const int64_t* num_voxels,
                                 const KernelShape& kernel, int32_t* const* neighbors,
                                 cudaStream_t stream);

}  // namespace elite_ops::cuda
