// The row of every voxel, by the key of its cell: a bitmap with ranks, or sorted keys.
//
// Voxels outside the grid are left out, with kIndexOutOfRange; after kDuplicateIndices, which of
// the equal voxels is found is not defined.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "common/voxel_set.h"
#include "cuda/launch.cuh"
#include "cuda/neighbors.cuh"
#include "cuda/workspace.cuh"

namespace elite_ops::cuda {

size_t voxel_index_workspace_bytes(const VoxelSet& voxels);

// These want one voxel at least.
cudaError_t index_by_bitmap(const VoxelSet& voxels, void* buffer, int32_t* error_flag,
                            cudaStream_t stream, BitmapRows& index);
cudaError_t index_by_sort(const VoxelSet& voxels, void* buffer, int32_t* error_flag,
                          cudaStream_t stream, SortedRows& index);

// Calls `use` with the index that suits the voxels, of which there is one at least; it lies in
// `buffer`.
template <typename Use>
cudaError_t with_voxel_index(const VoxelSet& voxels, void* buffer, int32_t* error_flag,
                             cudaStream_t stream, const Use& use) {
  if (uses_bitmap(voxels.grid.num_words(), voxels.num_voxels)) {
    BitmapRows index;
    ELITE_CUDA_TRY(index_by_bitmap(voxels, buffer, error_flag, stream, index));
    return use(index);
  }
  SortedRows index;
  ELITE_CUDA_TRY(index_by_sort(voxels, buffer, error_flag, stream, index));
  return use(index);
}

}  // namespace elite_ops::cuda
