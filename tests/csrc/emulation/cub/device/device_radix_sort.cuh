// Stand-in for CUB's <cub/device/device_radix_sort.cuh>.
#pragma once

#include <cuda_runtime.h>

#include "emulator/radix_sort.h"
#include "emulator/temporary_storage.h"

namespace cub {

struct DeviceRadixSort {
  template <typename Key, typename Value, typename Count>
  static cudaError_t SortPairs(void* storage, size_t& bytes, const Key* keys_in, Key* keys_out,
                               const Value* values_in, Value* values_out, Count num_items,
                               int begin_bit = 0, int end_bit = 8 * sizeof(Key),
                               cudaStream_t = nullptr) {
    return sort(storage, bytes, keys_in, keys_out, values_in, values_out, num_items,
                {begin_bit, end_bit}, false);
  }

  template <typename Key, typename Value, typename Count>
  static cudaError_t SortPairsDescending(void* storage, size_t& bytes, const Key* keys_in,
                                         Key* keys_out, const Value* values_in, Value* values_out,
                                         Count num_items, int begin_bit = 0,
                                         int end_bit = 8 * sizeof(Key), cudaStream_t = nullptr) {
    return sort(storage, bytes, keys_in, keys_out, values_in, values_out, num_items,
                {begin_bit, end_bit}, true);
  }

  template <typename Key, typename Count>
  static cudaError_t SortKeys(void* storage, size_t& bytes, const Key* keys_in, Key* keys_out,
                              Count num_items, int begin_bit = 0, int end_bit = 8 * sizeof(Key),
                              cudaStream_t = nullptr) {
    return sort<Key, emulation::NoValue>(storage, bytes, keys_in, keys_out, nullptr, nullptr,
                                         num_items, {begin_bit, end_bit}, false);
  }

  template <typename Key, typename Count>
  static cudaError_t SortKeysDescending(void* storage, size_t& bytes, const Key* keys_in,
                                        Key* keys_out, Count num_items, int begin_bit = 0,
                                        int end_bit = 8 * sizeof(Key), cudaStream_t = nullptr) {
    return sort<Key, emulation::NoValue>(storage, bytes, keys_in, keys_out, nullptr, nullptr,
                                         num_items, {begin_bit, end_bit}, true);
  }

 private:
  template <typename Key, typename Value>
  static cudaError_t sort(void* storage, size_t& bytes, const Key* keys_in, Key* keys_out,
                          const Value* values_in, Value* values_out, int64_t num_items,
                          emulation::BitRange bits, bool descending) {
    cudaError_t status;
    if (emulation::take_storage(storage, bytes, num_items, status)) {
      emulation::radix_sort(keys_in, keys_out, values_in, values_out, num_items, bits, descending);
    }
    return status;
  }
};

}  // namespace cub
