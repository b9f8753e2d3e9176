#include "common/error_flag.h"
#include "cuda/kernel_map.h"
#include "cuda/key_sort.cuh"
#include "cuda/launch.cuh"
#include "cuda/neighbors.cuh"
#include "cuda/ranked_bitmap.cuh"
#include "cuda/workspace.cuh"

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

// Reports output voxels outside their grid, which nothing else would notice.
__global__ void check_outputs_kernel(VoxelSet voxels, int32_t* error_flag) {
  const int64_t i = global_thread();
  if (i < voxels.num_voxels && !voxels.in_grid(i)) report(error_flag, kIndexOutOfRange);
}

template <typename Index>
cudaError_t find_neighbors(const VoxelSet& inputs, const VoxelSet& outputs,
                           const KernelGeometry& kernel, const Index& index, int32_t* in_rows,
                           cudaStream_t stream) {
  NeighborTables<Index> tables(kernel, inputs.indices == outputs.indices);
  tables.add(outputs, inputs.grid, inputs.num_voxels, index, in_rows);
  return find_neighbors(tables, stream);
}

// A bitmap of its own, and the row of the voxel with each rank.
struct BitmapScratch {
  RankedBitmap bitmap;
  int32_t* rows;  // [V]

  BitmapScratch(Workspace& workspace, const VoxelSet& inputs)
      : bitmap(take_bitmap(workspace, inputs.grid.num_words())),
        rows(workspace.take<int32_t>(inputs.num_voxels)) {}
};

cudaError_t build_by_bitmap(const VoxelSet& inputs, const VoxelSet& outputs,
                            const KernelGeometry& kernel, Workspace& workspace, int32_t* in_rows,
                            int32_t* error_flag, cudaStream_t stream) {
  const BitmapScratch scratch(workspace, inputs);
  const cudaLaunchConfig_t per_voxel = one_thread_per(inputs.num_voxels, stream);
  ELITE_CUDA_TRY(clear(scratch.bitmap, stream));
  ELITE_CUDA_TRY(
      cudaLaunchKernelEx(&per_voxel, mark_voxels_kernel, inputs, scratch.bitmap, error_flag));
  ELITE_CUDA_TRY(rank_words(scratch.bitmap, stream));
  ELITE_CUDA_TRY(
      cudaLaunchKernelEx(&per_voxel, place_rows_kernel, inputs, scratch.bitmap, scratch.rows));
  return find_neighbors(inputs, outputs, kernel, BitmapRows{scratch.bitmap, 0, scratch.rows},
                        in_rows, stream);
}

cudaError_t build_by_sort(const VoxelSet& inputs, const VoxelSet& outputs,
                          const KernelGeometry& kernel, Workspace& workspace, int32_t* in_rows,
                          int32_t* error_flag, cudaStream_t stream) {
  const KeySort sort = take_key_sort(workspace, inputs.num_voxels);
  const int64_t key_end = inputs.grid.num_words() * 64;
  const cudaLaunchConfig_t per_voxel = one_thread_per(inputs.num_voxels, stream);
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_voxel, key_voxels_kernel, inputs, sort, error_flag));
  ELITE_CUDA_TRY(sort_by_key(sort, key_end + 1, stream));
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_voxel, find_duplicates_kernel, sort,
                                    static_cast<uint64_t>(key_end), error_flag));
  return find_neighbors(inputs, outputs, kernel,
                        SortedRows{sort.sorted_keys, sort.num_rows, sort.sorted_rows, 0}, in_rows,
                        stream);
}

__global__ void swap_kernel(const int32_t* __restrict__ rows, int64_t num_entries,
                            int64_t num_columns, int64_t num_rows, int32_t* swapped,
                            int32_t* error_flag) {
  const int64_t entry = global_thread();
  if (entry >= num_entries) return;
  const int32_t row = rows[entry];
  if (row >= 0 && row < num_rows) {
    const int64_t k = entry / num_columns;
    const auto column = static_cast<int32_t>(entry - k * num_columns);
    if (atomicExch(&swapped[k * num_rows + row], column) != -1) {
      report(error_flag, kDuplicateIndices);
    }
  } else if (row != -1) {
    report(error_flag, kIndexOutOfRange);
  }
}

}  // namespace

size_t kernel_map_workspace_bytes(const VoxelSet& inputs) {
  Workspace workspace(nullptr);
  if (uses_bitmap(inputs.grid.num_words(), inputs.num_voxels)) {
    BitmapScratch(workspace, inputs);
  } else {
    take_key_sort(workspace, inputs.num_voxels);
  }
  return workspace.bytes();
}

cudaError_t build_kernel_map(const VoxelSet& inputs, const VoxelSet& outputs,
                             const KernelGeometry& kernel, void* buffer, int32_t* in_rows,
                             int32_t* error_flag, cudaStream_t stream) {
  if (outputs.num_voxels == 0) return cudaSuccess;
  if (inputs.indices != outputs.indices) {
    const cudaLaunchConfig_t per_output = one_thread_per(outputs.num_voxels, stream);
    ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_output, check_outputs_kernel, outputs, error_flag));
  }
  if (inputs.num_voxels == 0) {
    const int64_t bytes = kernel.num_offsets() * outputs.num_voxels * sizeof(*in_rows);
    return cudaMemsetAsync(in_rows, 0xFF, bytes, stream);
  }
  Workspace workspace(buffer);
  const bool by_bitmap = uses_bitmap(inputs.grid.num_words(), inputs.num_voxels);
  const auto build = by_bitmap ? build_by_bitmap : build_by_sort;
  return build(inputs, outputs, kernel, workspace, in_rows, error_flag, stream);
}

cudaError_t swap_kernel_map(const int32_t* rows, int64_t num_offsets, int64_t num_columns,
                            int64_t num_rows, int32_t* swapped, int32_t* error_flag,
                            cudaStream_t stream) {
  const int64_t num_entries = num_offsets * num_columns;
  if (num_rows > 0) {
    const int64_t bytes = num_offsets * num_rows * sizeof(*swapped);
    ELITE_CUDA_TRY(cudaMemsetAsync(swapped, 0xFF, bytes, stream));
  }
  if (num_entries == 0) return cudaSuccess;
  const cudaLaunchConfig_t config = one_thread_per(num_entries, stream);
  return cudaLaunchKernelEx(&config, swap_kernel, rows, num_entries, num_columns, num_rows, swapped,
                            error_flag);
}

}  // namespace elite_ops::cuda
