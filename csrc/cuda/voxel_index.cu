#include "common/error_flag.h"
#include "cuda/key_sort.cuh"
#include "cuda/launch.cuh"
#include "cuda/ranked_bitmap.cuh"
#include "cuda/voxel_index.cuh"

namespace elite_ops::cuda {
namespace {

__device__ void report(int32_t* error_flag, ErrorFlag error) {
  atomicOr(error_flag, static_cast<int32_t>(error));
}

__global__ void mark_voxels_kernel(VoxelSet voxels, RankedBitmap bitmap, int32_t* error_flag) {
  const int64_t i = global_thread();
  if (i >= voxels.num_voxels) return;
  if (!voxels.in_grid(i)) {
    report(error_flag, kIndexOutOfRange);
  } else if (bitmap.mark(voxels.key(i))) {
    report(error_flag, kDuplicateIndices);
  }
}

__global__ void place_rows_kernel(VoxelSet voxels, RankedBitmap bitmap,
                                  int32_t* __restrict__ rows) {
  const int64_t i = global_thread();
  if (i >= voxels.num_voxels || !voxels.in_grid(i)) return;
  rows[bitmap.rank(voxels.key(i))] = static_cast<int32_t>(i);
}

__global__ void key_voxels_kernel(VoxelSet voxels, KeySort sort, int32_t* error_flag) {
  const int64_t i = global_thread();
  if (i >= voxels.num_voxels) return;
  const bool in_grid = voxels.in_grid(i);
  if (!in_grid) report(error_flag, kIndexOutOfRange);
  sort.keys[i] = in_grid ? voxels.key(i) : voxels.grid.num_words() * 64;
  sort.rows[i] = static_cast<int32_t>(i);
}

__global__ void find_duplicates_kernel(KeySort sort, uint64_t key_end, int32_t* error_flag) {
  const int64_t i = global_thread() + 1;
  if (i >= sort.num_rows) return;
  const uint64_t key = sort.sorted_keys[i];
  if (key != key_end && key == sort.sorted_keys[i - 1]) report(error_flag, kDuplicateIndices);
}

// A bitmap of its own, and the row of the voxel with each rank.
struct BitmapScratch {
  RankedBitmap bitmap;
  int32_t* rows;  // [V]

  BitmapScratch(Workspace& workspace, const VoxelSet& voxels)
      : bitmap(take_bitmap(workspace, voxels.grid.num_words())),
        rows(workspace.take<int32_t>(voxels.num_voxels)) {}
};

}  // namespace

size_t voxel_index_workspace_bytes(const VoxelSet& voxels) {
  Workspace workspace(nullptr);
  if (uses_bitmap(voxels.grid.num_words(), voxels.num_voxels)) {
    BitmapScratch(workspace, voxels);
  } else {
    take_key_sort(workspace, voxels.num_voxels);
  }
  return workspace.bytes();
}

cudaError_t index_by_bitmap(const VoxelSet& voxels, void* buffer, int32_t* error_flag,
                            cudaStream_t stream, BitmapRows& index) {
  Workspace workspace(buffer);
  const BitmapScratch scratch(workspace, voxels);
  const cudaLaunchConfig_t per_voxel = one_thread_per(voxels.num_voxels, stream);
  ELITE_CUDA_TRY(clear(scratch.bitmap, stream));
  ELITE_CUDA_TRY(
      cudaLaunchKernelEx(&per_voxel, mark_voxels_kernel, voxels, scratch.bitmap, error_flag));
  ELITE_CUDA_TRY(rank_words(scratch.bitmap, stream));
  ELITE_CUDA_TRY(
      cudaLaunchKernelEx(&per_voxel, place_rows_kernel, voxels, scratch.bitmap, scratch.rows));
  index = {scratch.bitmap, 0, scratch.rows};
  return cudaSuccess;
}

cudaError_t index_by_sort(const VoxelSet& voxels, void* buffer, int32_t* error_flag,
                          cudaStream_t stream, SortedRows& index) {
  Workspace workspace(buffer);
  const KeySort sort = take_key_sort(workspace, voxels.num_voxels);
  const int64_t key_end = voxels.grid.num_words() * 64;
  const cudaLaunchConfig_t per_voxel = one_thread_per(voxels.num_voxels, stream);
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_voxel, key_voxels_kernel, voxels, sort, error_flag));
  ELITE_CUDA_TRY(sort_by_key(sort, key_end + 1, stream));
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_voxel, find_duplicates_kernel, sort,
                                    static_cast<uint64_t>(key_end), error_flag));
  index = {sort.sorted_keys, sort.num_rows, sort.sorted_rows, 0};
  return cudaSuccess;
}

}  // namespace elite_ops::cuda
