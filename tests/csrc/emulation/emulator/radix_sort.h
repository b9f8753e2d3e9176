// A stable sort by some bits of the keys, as CUB's radix sorts define it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <type_traits>
#include <vector>

#include "emulator/block.h"

namespace emulation {

template <typename Key>
using Bits =
    std::conditional_t<sizeof(Key) == 8, uint64_t,
                       std::conditional_t<sizeof(Key) == 4, uint32_t,
                                          std::conditional_t<sizeof(Key) == 2, uint16_t, uint8_t>>>;

// Unsigned bits that compare as the key does: flips the sign bit of a signed integer, and all bits
// of a negative floating-point number. Minus zero counts as zero.
template <typename Key>
uint64_t ordered_bits(Key key) {
  constexpr uint64_t kSign = uint64_t{1} << (8 * sizeof(Key) - 1);
  if constexpr (std::is_integral_v<Key>) {
    return static_cast<Bits<Key>>(key) ^ (std::is_signed_v<Key> ? kSign : 0);
  } else {
    if (key == Key(0)) key = Key(0);
    Bits<Key> bits;
    std::memcpy(&bits, &key, sizeof bits);
    return bits & kSign ? static_cast<Bits<Key>>(~bits) : bits | kSign;
  }
}

struct BitRange {
  int begin, end;
  template <typename Key>
  uint64_t of(Key key) const {
    const int width = end - begin;
    if (width == 0) return 0;
    return ordered_bits(key) >> begin & (~uint64_t{0} >> (64 - width));
  }
};

// The rows in their sorted order; rows with equal bits keep theirs, also in a descending sort.
template <typename Key>
std::vector<int64_t> sorted_rows(const Key* keys, int64_t num_items, BitRange bits,
                                 bool descending) {
  std::vector<int64_t> rows(static_cast<size_t>(num_items));
  std::iota(rows.begin(), rows.end(), int64_t{0});
  std::stable_sort(rows.begin(), rows.end(), [&](int64_t a, int64_t b) {
    const uint64_t x = bits.of(keys[a]), y = bits.of(keys[b]);
    return descending ? y < x : x < y;
  });
  return rows;
}

// The sorts work out of place: on the device, overlapping input and output is a race.
template <typename T>
void check_apart(const T* in, const T* out, int64_t num_items) {
  if (num_items > 0 && in < out + num_items && out < in + num_items) {
    fail("a sort's input and output overlap");
  }
}

template <typename Key>
void check_bits(BitRange bits) {
  if (bits.begin < 0 || bits.end > static_cast<int>(8 * sizeof(Key)) || bits.begin > bits.end) {
    fail("a sort over the bits %d to %d of a %d-byte key", bits.begin, bits.end,
         static_cast<int>(sizeof(Key)));
  }
}

template <typename T>
void gather(const T* in, T* out, const std::vector<int64_t>& rows) {
  for (size_t i = 0; i < rows.size(); ++i) out[i] = in[rows[i]];
}

// Stands for the values of a sort of keys alone.
struct NoValue {};

template <typename Key, typename Value>
void radix_sort(const Key* keys_in, Key* keys_out, const Value* values_in, Value* values_out,
                int64_t num_items, BitRange bits, bool descending) {
  check_bits<Key>(bits);
  check_apart(keys_in, keys_out, num_items);
  const std::vector<int64_t> rows = sorted_rows(keys_in, num_items, bits, descending);
  gather(keys_in, keys_out, rows);
  if constexpr (!std::is_same_v<Value, NoValue>) {
    check_apart(values_in, values_out, num_items);
    gather(values_in, values_out, rows);
  }
}

}  // namespace emulation
