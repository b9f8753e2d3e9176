// A stable radix sort of non-negative floating-point keys, the largest first.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

namespace elite_ops::cpu {

// The bits of a non-negative number are ordered like the number.
template <typename scalar_t>
using key_bits = std::conditional_t<sizeof(scalar_t) == 4, uint32_t, uint64_t>;

template <typename scalar_t>
struct KeyedItem {
  scalar_t key;
  uint32_t value;
};

// Sorts `items` by falling key; equal keys keep their order. Keys lie in [0, 2), whose bits leave
// the two uppermost unused: three digits of ten bits for float. A NaN ends anywhere. `spare` is
// scratch.
template <typename scalar_t>
void radix_sort_descending(std::vector<KeyedItem<scalar_t>>& items,
                           std::vector<KeyedItem<scalar_t>>& spare) {
  constexpr int kDigitBits = 10;
  constexpr int kDigits = (8 * sizeof(scalar_t) - 2 + kDigitBits - 1) / kDigitBits;
  constexpr uint32_t kBuckets = 1 << kDigitBits;
  const auto digit = [](const KeyedItem<scalar_t>& item, int d) {
    const auto bits = std::bit_cast<key_bits<scalar_t>>(item.key);
    return static_cast<uint32_t>(bits >> (d * kDigitBits)) & (kBuckets - 1);
  };

  std::array<std::array<uint32_t, kBuckets>, kDigits> begins{};
  for (const auto& item : items) {
    for (int d = 0; d < kDigits; ++d) ++begins[d][digit(item, d)];
  }
  spare.resize(items.size());
  for (int d = 0; d < kDigits; ++d) {
    uint32_t begin = 0;
    for (uint32_t bucket = kBuckets; bucket-- > 0;) {
      begin += std::exchange(begins[d][bucket], begin);
    }
    for (const auto& item : items) spare[begins[d][digit(item, d)]++] = item;
    items.swap(spare);
  }
}

}  // namespace elite_ops::cpu
