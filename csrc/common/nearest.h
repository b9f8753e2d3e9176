// Which of two candidates is nearer: the same answer on every device.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>

#include "common/rounded.h"

namespace elite_ops {

constexpr float kInfinitelyFar = std::numeric_limits<float>::infinity();

ELITE_HOST_DEVICE inline float finite_or_zero(float v) { return v - v == 0.f ? v : 0.f; }

// (x^2 + y^2) + z^2; infinite where that is not a number.
ELITE_HOST_DEVICE inline float squared_length(float x, float y, float z) {
  const float xy = rounded_add(rounded_mul(x, x), rounded_mul(y, y));
  const float squared = rounded_add(xy, rounded_mul(z, z));
  return squared < kInfinitelyFar ? squared : kInfinitelyFar;
}

// A candidate as one number, the smaller the nearer, and of equally near ones in the order of their
// rows: the bits of floats that are not negative are ordered as the floats are.
ELITE_HOST_DEVICE inline uint64_t key_of(float squared_distance, int64_t row) {
  uint32_t bits;
  memcpy(&bits, &squared_distance, sizeof(bits));
  return static_cast<uint64_t>(bits) << 32 | static_cast<uint64_t>(row);
}
ELITE_HOST_DEVICE inline int64_t row_of(uint64_t key) {
  return static_cast<int64_t>(key & 0xffffffff);
}

}  // namespace elite_ops
