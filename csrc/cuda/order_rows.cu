#include "cuda/key_sort.cuh"
#include "cuda/launch.cuh"
#include "cuda/order_rows.h"

namespace elite_ops::cuda {
namespace {

// One thread per row.
__global__ void number_groups_kernel(RowPatterns groups, const int32_t* __restrict__ in_rows,
                                     KeySort sort) {
  const int64_t i = global_thread();
  if (i >= sort.num_rows) return;
  const auto layers = static_cast<int>(groups.num_layers);
  const auto columns = static_cast<int>(groups.num_offsets / groups.num_layers);
  const int32_t* entry = in_rows + i;
  uint64_t bits = 0;
  for (int column = 0; column < columns; ++column) {
#pragma unroll 3
    for (int layer = 0; layer < layers; ++layer, entry += sort.num_rows) {
      bits |= *entry >= 0 ? groups.bits(column, layer) : 0;
    }
  }
  sort.keys[i] = RowPatterns::number(bits);
  sort.rows[i] = static_cast<int32_t>(i);
}

// One thread per row and, by blockIdx.y, offset.
__global__ void gather_rows_kernel(const int32_t* __restrict__ in_rows,
                                   const int32_t* __restrict__ order, int64_t num_rows,
                                   int32_t* __restrict__ ordered_rows) {
  const int64_t i = global_thread(), k = blockIdx.y;
  if (i < num_rows) ordered_rows[k * num_rows + i] = in_rows[k * num_rows + order[i]];
}

}  // namespace

size_t order_rows_workspace_bytes(int64_t num_rows) {
  Workspace workspace(nullptr);
  take_key_sort(workspace, num_rows);
  return workspace.bytes();
}

cudaError_t order_rows(const RowPatterns& groups, const int32_t* in_rows, int64_t num_rows,
                       void* buffer, int32_t* order, int32_t* ordered_rows, cudaStream_t stream) {
  if (num_rows == 0) return cudaSuccess;
  Workspace workspace(buffer);
  KeySort sort = take_key_sort(workspace, num_rows);
  sort.sorted_rows = order;
  cudaLaunchConfig_t config = one_thread_per(num_rows, stream);
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&config, number_groups_kernel, groups, in_rows, sort));
  ELITE_CUDA_TRY(sort_by_key(sort, int64_t{1} << groups.num_bits(), stream));
  config.gridDim.y = static_cast<unsigned>(groups.num_offsets);
  return cudaLaunchKernelEx(&config, gather_rows_kernel, in_rows,
                            static_cast<const int32_t*>(order), num_rows, ordered_rows);
}

}  // namespace elite_ops::cuda
