#include "cuda/launch.cuh"
#include "cuda/lower_bound.cuh"
#include "cuda/row_offsets.h"

namespace elite_ops::cuda {
namespace {

// A search per row, so that no row waits for another, however many are empty.
__global__ void row_offsets_kernel(const uint32_t* __restrict__ sorted_rows, int64_t num_items,
                                   int64_t num_rows, int32_t* __restrict__ offsets) {
  const int64_t row = global_thread();
  if (row > num_rows) return;
  const auto first = static_cast<uint32_t>(row);
  offsets[row] = static_cast<int32_t>(lower_bound(sorted_rows, 0, num_items, first));
}

}  // namespace

cudaError_t row_offsets(const uint32_t* sorted_rows, int64_t num_items, int64_t num_rows,
                        int32_t* offsets, cudaStream_t stream) {
  const cudaLaunchConfig_t config = one_thread_per(num_rows + 1, stream);
  return cudaLaunchKernelEx(&config, row_offsets_kernel, sorted_rows, num_items, num_rows, offsets);
}

}  // namespace elite_ops::cuda
