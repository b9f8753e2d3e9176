// Stand-in for CUB's <cub/device/device_segmented_radix_sort.cuh>.
#pragma once

#include <cuda_runtime.h>

#include "emulator/radix_sort.h"
#include "emulator/temporary_storage.h"

namespace cub {

struct DeviceSegmentedRadixSort {
  template <typename Key, typename Value, typename Begins, typename Ends>
  static cudaError_t SortPairs(void* storage, size_t& bytes, const Key* keys_in, Key* keys_out,
                               const Value* values_in, Value* values_out, int64_t num_items,
                               int64_t num_segments, Begins begins, Ends ends, int begin_bit = 0,
                               int end_bit = 8 * sizeof(Key), cudaStream_t = nullptr) {
    return sort(storage, bytes, keys_in, keys_out, values_in, values_out, num_items, num_segments,
                begins, ends, {begin_bit, end_bit}, false);
  }

  template <typename Key, typename Value, typename Begins, typename Ends>
  static cudaError_t SortPairsDescending(void* storage, size_t& bytes, const Key* keys_in,
                                         Key* keys_out, const Value* values_in, Value* values_out,
                                         int64_t num_items, int64_t num_segments, Begins begins,
                                         Ends ends, int begin_bit = 0,
                                         int end_bit = 8 * sizeof(Key), cudaStream_t = nullptr) {
    return sort(storage, bytes, keys_in, keys_out, values_in, values_out, num_items, num_segments,
                begins, ends, {begin_bit, end_bit}, true);
  }

 private:
  // What lies between the segments is left as it is.
  template <typename Key, typename Value, typename Begins, typename Ends>
  static cudaError_t sort(void* storage, size_t& bytes, const Key* keys_in, Key* keys_out,
                          const Value* values_in, Value* values_out, int64_t num_items,
                          int64_t num_segments, Begins begins, Ends ends, emulation::BitRange bits,
                          bool descending) {
    cudaError_t status;
    if (!emulation::take_storage(storage, bytes, num_items, status)) return status;
    for (int64_t s = 0; s < num_segments; ++s) {
      const int64_t begin = begins[s], end = ends[s];
      if (begin > end || end > num_items) emulation::fail("segment %lld ends badly", (long long)s);
      emulation::radix_sort(keys_in + begin, keys_out + begin, values_in + begin,
                            values_out + begin, end - begin, bits, descending);
    }
    return status;
  }
};

}  // namespace cub
