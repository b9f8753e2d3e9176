#include "common/error_flag.h"
#include "cuda/kernel_map.h"
#include "cuda/key_sort.cuh"
#include "cuda/launch.cuh"
#include "cuda/ranked_bitmap.cuh"
#include "cuda/workspace.cuh"

namespace elite_ops::cuda {
namespace {

// Voxels [V, 4] in a grid.
struct VoxelSet {
  const int32_t* indices;
  int64_t num_voxels;
  VoxelGrid grid;

  __device__ bool in_grid(int64_t i) const {
    const int32_t* index = indices + i * 4;
    return index[0] >= 0 && index[0] < grid.batch_size && index[1] >= 0 &&
           index[1] < grid.shape[0] && index[2] >= 0 && index[2] < grid.shape[1] && index[3] >= 0 &&
           index[3] < grid.shape[2];
  }
  __device__ int64_t key(int64_t i) const {
    const int32_t* index = indices + i * 4;
    return grid.key(index[0], index[1], index[2], index[3]);
  }
};

__device__ void report(int32_t* error_flag, ErrorFlag error) {
  atomicOr(error_flag, static_cast<int32_t>(error));
}

// Finds the row of a key in a bitmap.
struct BitmapRows {
  RankedBitmap bitmap;
  int32_t* rows;  // [V]: of the voxel with each rank

  __device__ int32_t find(int64_t key) const {
    return bitmap.contains(key) ? rows[bitmap.rank(key)] : -1;
  }
};

__global__ void mark_voxels_kernel(VoxelSet voxels, RankedBitmap bitmap, int32_t* error_flag) {
  const int64_t i = global_thread();
  if (i >= voxels.num_voxels) return;
  if (!voxels.in_grid(i)) {
    report(error_flag, kIndexOutOfRange);
  } else if (bitmap.mark(voxels.key(i))) {
    report(error_flag, kDuplicateIndices);
  }
}

__global__ void place_rows_kernel(VoxelSet voxels, BitmapRows found) {
  const int64_t i = global_thread();
  if (i >= voxels.num_voxels || !voxels.in_grid(i)) return;
  found.rows[found.bitmap.rank(voxels.key(i))] = static_cast<int32_t>(i);
}

// Finds the row of a key in sorted keys.
struct SortedRows {
  KeySort sort;

  __device__ int32_t find(int64_t key) const {
    const auto wanted = static_cast<uint64_t>(key);
    int64_t begin = 0, end = sort.num_rows;
    while (begin < end) {
      const int64_t middle = (begin + end) / 2;
      if (sort.sorted_keys[middle] < wanted) {
        begin = middle + 1;
      } else {
        end = middle;
      }
    }
    const bool is_found = begin < sort.num_rows && sort.sorted_keys[begin] == wanted;
    return is_found ? sort.sorted_rows[begin] : -1;
  }
};

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

// One thread per voxel and column of offsets (all offsets that share x and y): it writes the
// column's entries, whose keys are neighbours too.
template <typename Rows>
__global__ void find_neighbors_kernel(VoxelSet voxels, KernelShape kernel, Rows rows,
                                      int32_t* __restrict__ neighbors) {
  const int64_t thread = global_thread();
  const int64_t column = thread / voxels.num_voxels, i = thread % voxels.num_voxels;
  if (column >= kernel.size[0] * kernel.size[1]) return;
  const int32_t* index = voxels.indices + i * 4;
  const VoxelGrid& grid = voxels.grid;
  const int64_t x = index[1] + (column / kernel.size[1]) * kernel.dilation[0] - kernel.reach(0);
  const int64_t y = index[2] + (column % kernel.size[1]) * kernel.dilation[1] - kernel.reach(1);
  const bool in_grid =
      voxels.in_grid(i) && x >= 0 && x < grid.shape[0] && y >= 0 && y < grid.shape[1];
  for (int i_z = 0; i_z < kernel.size[2]; ++i_z) {
    const int64_t z = index[3] + int64_t{i_z} * kernel.dilation[2] - kernel.reach(2);
    const bool has_cell = in_grid && z >= 0 && z < grid.shape[2];
    neighbors[(column * kernel.size[2] + i_z) * voxels.num_voxels + i] =
        has_cell ? rows.find(grid.key(index[0], x, y, z)) : -1;
  }
}

template <typename Rows>
cudaError_t find_neighbors(const VoxelSet& voxels, const KernelShape& kernel, const Rows& rows,
                           int32_t* neighbors, cudaStream_t stream) {
  const int64_t num_columns = int64_t{kernel.size[0]} * kernel.size[1];
  const cudaLaunchConfig_t config = one_thread_per(num_columns * voxels.num_voxels, stream);
  return cudaLaunchKernelEx(&config, find_neighbors_kernel<Rows>, voxels, kernel, rows, neighbors);
}

BitmapRows take_bitmap_rows(Workspace& workspace, const VoxelGrid& grid, int64_t num_voxels) {
  return {take_bitmap(workspace, grid.num_words()), workspace.take<int32_t>(num_voxels)};
}

cudaError_t build_by_bitmap(const VoxelSet& voxels, const KernelShape& kernel, Workspace& workspace,
                            int32_t* neighbors, int32_t* error_flag, cudaStream_t stream) {
  const BitmapRows rows = take_bitmap_rows(workspace, voxels.grid, voxels.num_voxels);
  const cudaLaunchConfig_t per_voxel = one_thread_per(voxels.num_voxels, stream);
  ELITE_CUDA_TRY(clear(rows.bitmap, stream));
  ELITE_CUDA_TRY(
      cudaLaunchKernelEx(&per_voxel, mark_voxels_kernel, voxels, rows.bitmap, error_flag));
  ELITE_CUDA_TRY(rank_words(rows.bitmap, stream));
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_voxel, place_rows_kernel, voxels, rows));
  return find_neighbors(voxels, kernel, rows, neighbors, stream);
}

cudaError_t build_by_sort(const VoxelSet& voxels, const KernelShape& kernel, Workspace& workspace,
                          int32_t* neighbors, int32_t* error_flag, cudaStream_t stream) {
  const SortedRows rows{take_key_sort(workspace, voxels.num_voxels)};
  const int64_t key_end = voxels.grid.num_words() * 64;
  const cudaLaunchConfig_t per_voxel = one_thread_per(voxels.num_voxels, stream);
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_voxel, key_voxels_kernel, voxels, rows.sort, error_flag));
  ELITE_CUDA_TRY(sort_by_key(rows.sort, key_end + 1, stream));
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_voxel, find_duplicates_kernel, rows.sort,
                                    static_cast<uint64_t>(key_end), error_flag));
  return find_neighbors(voxels, kernel, rows, neighbors, stream);
}

}  // namespace

size_t kernel_map_workspace_bytes(int64_t num_voxels, const VoxelGrid& grid) {
  Workspace workspace(nullptr);
  if (uses_bitmap(grid.num_words(), num_voxels)) {
    take_bitmap_rows(workspace, grid, num_voxels);
  } else {
    take_key_sort(workspace, num_voxels);
  }
  return workspace.bytes();
}

cudaError_t build_kernel_map(const int32_t* indices, int64_t num_voxels, const VoxelGrid& grid,
                             const KernelShape& kernel, void* buffer, int32_t* neighbors,
                             int32_t* error_flag, cudaStream_t stream) {
  if (num_voxels == 0) return cudaSuccess;
  const VoxelSet voxels{indices, num_voxels, grid};
  Workspace workspace(buffer);
  const auto build = uses_bitmap(grid.num_words(), num_voxels) ? build_by_bitmap : build_by_sort;
  return build(voxels, kernel, workspace, neighbors, error_flag, stream);
}

}  // namespace elite_ops::cuda
