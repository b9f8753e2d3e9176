// The voxels that points take their features from, and with which weights, on CUDA.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "common/devoxelize.h"
#include "common/voxel_set.h"

namespace elite_ops::cuda {

size_t devoxelize_workspace_bytes(const VoxelSet& voxels);

// Writes rows and weights [N, corners] as cpu::devoxelize does. Points of no sample have no voxel,
// with kIndexOutOfRange; so have voxels outside the grid, and equal ones give kDuplicateIndices.
cudaError_t devoxelize(const Devoxelization& call, const VoxelSet& voxels, void* workspace,
                       int32_t* rows, float* weights, int32_t* error_flag, cudaStream_t stream);

}  // namespace elite_ops::cuda
