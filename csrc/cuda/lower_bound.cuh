// Binary search in a sorted array.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace elite_ops::cuda {

// The first position in [begin, end) whose value is not below `value`, else `end`.
template <typename T>
__device__ __forceinline__ int64_t lower_bound(const T* __restrict__ sorted, int64_t begin,
                                               int64_t end, T value) {
  while (begin < end) {
    const int64_t middle = (begin + end) / 2;
    if (sorted[middle] < value) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin;
}

// The same, by a warp that looks at 32 places at a time; all its lanes call this with the same
// arguments.
template <typename T>
__device__ __forceinline__ int64_t warp_lower_bound(const T* __restrict__ sorted, int64_t begin,
                                                    int64_t end, T value) {
  constexpr int kLanes = 32;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  while (begin < end) {
    const int64_t share = (end - begin + kLanes - 1) / kLanes;
    const int64_t last = begin + (lane + 1) * share - 1;
    const bool is_below = last < end && sorted[last] < value;
    begin += __popc(__ballot_sync(0xffffffffu, is_below)) * share;
    end = begin + share - 1 < end ? begin + share - 1 : end;
  }
  return begin;
}

}  // namespace elite_ops::cuda
