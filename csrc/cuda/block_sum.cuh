// The sum of one value per thread of a block, always added in the same order.
#pragma once

#include <cuda_runtime.h>

namespace elite_ops::cuda {

// Every thread of the block, a multiple of 32 threads, calls this; the first gets the sum. Call it
// once in a kernel, or put a barrier between two calls.
template <typename T>
__device__ __forceinline__ T block_sum(T value) {
  constexpr unsigned kWholeWarp = 0xffffffffu;
  constexpr int kWarpSize = 32;
  __shared__ T warp_sums[kWarpSize];
  const int lane = threadIdx.x % kWarpSize;
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
    value += __shfl_down_sync(kWholeWarp, value, offset);
  }
  if (lane == 0) warp_sums[threadIdx.x / kWarpSize] = value;
  __syncthreads();
  if (threadIdx.x / kWarpSize != 0) return value;
  const int num_warps = blockDim.x / kWarpSize;
  value = lane < num_warps ? warp_sums[lane] : T(0);
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
    value += __shfl_down_sync(kWholeWarp, value, offset);
  }
  return value;
}

}  // namespace elite_ops::cuda
