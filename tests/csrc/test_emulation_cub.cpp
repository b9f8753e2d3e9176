// The stand-ins for CUB: their results, and the protocol of the temporary storage.
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_reduce.cuh>
#include <cub/device/device_scan.cuh>
#include <cub/device/device_segmented_radix_sort.cuh>

#include "harness.h"

namespace {

// Asks for the size, then works, and checks that a byte less is refused.
template <typename Call>
void with_storage(Call call) {
  size_t bytes = 0;
  CHECK(call(nullptr, bytes) == cudaSuccess && bytes > 0);
  std::vector<char> storage(bytes);
  size_t fewer = bytes - 1;
  CHECK(call(storage.data(), fewer) == cudaErrorInvalidValue);
  CHECK(call(storage.data(), bytes) == cudaSuccess);
}

template <typename Key>
std::vector<Key> random_keys(int64_t n, uint64_t seed) {
  harness::Random random(seed);
  std::vector<Key> keys;
  for (int64_t i = 0; i < n; ++i) keys.push_back(static_cast<Key>(random.integer(2000) - 1000));
  return keys;
}

std::vector<int> row_numbers(size_t n) {
  std::vector<int> rows(n);
  for (size_t i = 0; i < n; ++i) rows[i] = static_cast<int>(i);
  return rows;
}

template <typename Key>
void check_sort() {
  const std::vector<Key> keys = random_keys<Key>(3000, 5);
  const std::vector<int> rows = row_numbers(keys.size());
  for (const bool descending : {false, true}) {
    std::vector<Key> sorted(keys.size());
    std::vector<int> order(keys.size()), want = rows;
    with_storage([&](void* storage, size_t& bytes) {
      const auto sort = descending ? &cub::DeviceRadixSort::SortPairsDescending<Key, int, int>
                                   : &cub::DeviceRadixSort::SortPairs<Key, int, int>;
      return sort(storage, bytes, keys.data(), sorted.data(), rows.data(), order.data(), 3000, 0,
                  8 * sizeof(Key), nullptr);
    });
    std::stable_sort(want.begin(), want.end(), [&](int a, int b) {
      return descending ? keys[b] < keys[a] : keys[a] < keys[b];
    });
    CHECK_EQUAL(order, want);
    for (size_t i = 0; i < want.size(); ++i) CHECK(sorted[i] == keys[want[i]]);
  }
}

}  // namespace

CASE(sorts_of_every_key_type) {
  check_sort<int>();
  check_sort<int64_t>();
  check_sort<float>();
  check_sort<double>();
  check_sort<__half>();
}

CASE(a_sort_by_some_bits_is_stable) {
  const std::vector<unsigned> keys = {0x13, 0x21, 0x12, 0x22, 0x11, 0x23};
  std::vector<unsigned> sorted(keys.size());
  with_storage([&](void* storage, size_t& bytes) {
    return cub::DeviceRadixSort::SortKeys(storage, bytes, keys.data(), sorted.data(), 6, 4, 8);
  });
  CHECK_EQUAL(sorted, (std::vector<unsigned>{0x13, 0x12, 0x11, 0x21, 0x22, 0x23}));
  with_storage([&](void* storage, size_t& bytes) {
    return cub::DeviceRadixSort::SortKeysDescending(storage, bytes, keys.data(), sorted.data(), 6,
                                                    0, 4);
  });
  CHECK_EQUAL(sorted, (std::vector<unsigned>{0x13, 0x23, 0x12, 0x22, 0x21, 0x11}));
}

CASE(segments_are_sorted_apart) {
  const std::vector<float> keys = {3, 1, 2, 9, -1, -2, 7};
  const std::vector<int> rows = row_numbers(keys.size()), offsets = {0, 3, 3, 6};
  std::vector<float> sorted(keys.size(), 0.f);
  std::vector<int> order(keys.size(), -1);
  with_storage([&](void* storage, size_t& bytes) {
    return cub::DeviceSegmentedRadixSort::SortPairsDescending(
        storage, bytes, keys.data(), sorted.data(), rows.data(), order.data(), 7, 3, offsets.data(),
        offsets.data() + 1);
  });
  CHECK_EQUAL(order, (std::vector<int>{0, 2, 1, 3, 4, 5, -1}));
  CHECK_EQUAL(sorted, (std::vector<float>{3, 2, 1, 9, -1, -2, 0}));
}

CASE(scans) {
  std::vector<int> values = {3, 1, 4, 1, 5};
  std::vector<int64_t> sums(5);
  with_storage([&](void* storage, size_t& bytes) {
    return cub::DeviceScan::ExclusiveSum(storage, bytes, values.data(), sums.data(), 5);
  });
  CHECK_EQUAL(sums, (std::vector<int64_t>{0, 3, 4, 8, 9}));
  with_storage([&](void* storage, size_t& bytes) {
    return cub::DeviceScan::InclusiveSum(storage, bytes, values.data(), values.data(), 5);
  });
  CHECK_EQUAL(values, (std::vector<int>{3, 4, 8, 9, 14}));
}

CASE(reductions) {
  const std::vector<int> values = {3, -1, 4, 1, 5};
  int sum = 0, lowest = 0, highest = 0;
  with_storage([&](void* storage, size_t& bytes) {
    return cub::DeviceReduce::Sum(storage, bytes, values.data(), &sum, 5);
  });
  with_storage([&](void* storage, size_t& bytes) {
    return cub::DeviceReduce::Min(storage, bytes, values.data(), &lowest, 5);
  });
  with_storage([&](void* storage, size_t& bytes) {
    return cub::DeviceReduce::Max(storage, bytes, values.data(), &highest, 5);
  });
  CHECK(sum == 12 && lowest == -1 && highest == 5);
}
