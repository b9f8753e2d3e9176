// The pairs of voxels that a convolution kernel connects, as tables.
//
// Voxels outside the grid are left out, with kIndexOutOfRange; after kDuplicateIndices, which of
// the equal voxels is met is not defined.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "common/kernel_geometry.h"
#include "common/voxel_set.h"

namespace elite_ops::cuda {

size_t kernel_map_workspace_bytes(const VoxelSet& inputs);

// Writes in_rows [K, outputs]: the row of the input voxel that meets each output voxel under each
// offset, -1 where there is none. Outputs and inputs may be the same.
cudaError_t build_kernel_map(const VoxelSet& inputs, const VoxelSet& outputs,
                             const KernelGeometry& kernel, void* workspace, int32_t* in_rows,
                             int32_t* error_flag, cudaStream_t stream);

// The table from the other side: swapped[k, rows[k, i]] = i, and -1 elsewhere. Entries outside
// [-1, num_rows) are left out, with kIndexOutOfRange; equal ones under an offset are reported with
// kDuplicateIndices.
cudaError_t swap_kernel_map(const int32_t* rows, int64_t num_offsets, int64_t num_columns,
                            int64_t num_rows, int32_t* swapped, int32_t* error_flag,
                            cudaStream_t stream);

}  // namespace elite_ops::cuda
