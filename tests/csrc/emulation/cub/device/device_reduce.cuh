// Stand-in for CUB's <cub/device/device_reduce.cuh>.
#pragma once

#include <cuda_runtime.h>

#include <limits>

#include "emulator/temporary_storage.h"

namespace cub {

struct DeviceReduce {
  template <typename In, typename Out, typename Count, typename Fold, typename T>
  static cudaError_t Reduce(void* storage, size_t& bytes, In in, Out out, Count num_items,
                            Fold fold, T start, cudaStream_t = nullptr) {
    cudaError_t status;
    if (!emulation::take_storage(storage, bytes, num_items, status)) return status;
    T result = start;
    for (int64_t i = 0; i < static_cast<int64_t>(num_items); ++i) result = fold(result, in[i]);
    *out = result;
    return status;
  }

  template <typename In, typename Out, typename Count>
  static cudaError_t Sum(void* storage, size_t& bytes, In in, Out out, Count num_items,
                         cudaStream_t = nullptr) {
    using T = emulation::ValueOf<In>;
    return Reduce(storage, bytes, in, out, num_items, [](T a, T b) -> T { return a + b; }, T{});
  }

  template <typename In, typename Out, typename Count>
  static cudaError_t Max(void* storage, size_t& bytes, In in, Out out, Count num_items,
                         cudaStream_t = nullptr) {
    using T = emulation::ValueOf<In>;
    return Reduce(
        storage, bytes, in, out, num_items, [](T a, T b) { return a < b ? b : a; },
        std::numeric_limits<T>::lowest());
  }

  template <typename In, typename Out, typename Count>
  static cudaError_t Min(void* storage, size_t& bytes, In in, Out out, Count num_items,
                         cudaStream_t = nullptr) {
    using T = emulation::ValueOf<In>;
    return Reduce(
        storage, bytes, in, out, num_items, [](T a, T b) { return b < a ? b : a; },
        std::numeric_limits<T>::max());
  }
};

}  // namespace cub
