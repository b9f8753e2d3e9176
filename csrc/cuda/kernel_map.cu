#include "common/error_flag.h"
#include "cuda/kernel_map.h"
#include "cuda/launch.cuh"
#include "cuda/neighbors.cuh"
#include "cuda/voxel_index.cuh"

namespace elite_ops::cuda {
namespace {

__device__ void report(int32_t* error_flag, ErrorFlag error) {
  atomicOr(error_flag, static_cast<int32_t>(error));
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
  return voxel_index_workspace_bytes(inputs);
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
  return with_voxel_index(inputs, buffer, error_flag, stream, [&](const auto& index) {
    return find_neighbors(inputs, outputs, kernel, index, in_rows, stream);
  });
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
