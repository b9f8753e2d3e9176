// Stand-in for CUB's <cub/device/device_scan.cuh>.
#pragma once

#include <cuda_runtime.h>

#include "emulator/temporary_storage.h"

namespace cub {

struct DeviceScan {
  template <typename In, typename Out, typename Count>
  static cudaError_t ExclusiveSum(void* storage, size_t& bytes, In in, Out out, Count num_items,
                                  cudaStream_t = nullptr) {
    return scan<false>(storage, bytes, in, out, num_items);
  }

  template <typename In, typename Out, typename Count>
  static cudaError_t InclusiveSum(void* storage, size_t& bytes, In in, Out out, Count num_items,
                                  cudaStream_t = nullptr) {
    return scan<true>(storage, bytes, in, out, num_items);
  }

 private:
  // Sums in the type of the input, whatever the output's is. `in` and `out` may be the same.
  template <bool kInclusive, typename In, typename Out>
  static cudaError_t scan(void* storage, size_t& bytes, In in, Out out, int64_t num_items) {
    cudaError_t status;
    if (!emulation::take_storage(storage, bytes, num_items, status)) return status;
    emulation::ValueOf<In> sum{};
    for (int64_t i = 0; i < num_items; ++i) {
      const emulation::ValueOf<In> value = in[i];
      if (!kInclusive) out[i] = sum;
      sum = sum + value;
      if (kInclusive) out[i] = sum;
    }
    return status;
  }
};

}  // namespace cub
