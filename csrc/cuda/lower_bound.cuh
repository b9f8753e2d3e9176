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

}  // namespace elite_ops::cuda
