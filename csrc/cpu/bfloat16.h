// The upper half of a float, as torch stores it.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

namespace elite_ops::cpu {

struct BFloat16 {
  uint16_t bits;

  BFloat16() = default;
  // Rounded to nearest, ties to even.
  explicit BFloat16(float x) {
    const auto all = std::bit_cast<uint32_t>(x);
    const uint32_t rounded = (all + 0x7fff + (all >> 16 & 1)) >> 16;
    const bool is_nan = (all & 0x7fffffff) > 0x7f800000;
    bits = static_cast<uint16_t>(is_nan ? 0x7fc0 : rounded);
  }
  operator float() const { return std::bit_cast<float>(uint32_t{bits} << 16); }
};

// The type in which sums of T are formed.
template <typename T>
using sum_t = std::conditional_t<std::is_same_v<T, BFloat16>, float, T>;

}  // namespace elite_ops::cpu
