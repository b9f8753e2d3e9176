// The neighbour table of a submanifold convolution.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "common/kernel_shape.h"
#include "common/voxel_grid.h"

namespace elite_ops::cuda {

size_t kernel_map_workspace_bytes(int64_t num_voxels, const VoxelGrid& grid);

// Writes neighbors [K, V]: the row of each voxel's neighbour under each offset, -1 where there is
// none. Voxels outside the grid are left out, with kIndexOutOfRange; after kDuplicateIndices, which
// of the equal voxels is a neighbour is not defined.
cudaError_t build_kernel_map(const int32_t* indices, int64_t num_voxels, const VoxelGrid& grid,
                             const KernelShape& kernel, void* workspace, int32_t* neighbors,
                             int32_t* error_flag, cudaStream_t stream);

}  // namespace elite_ops::cuda
