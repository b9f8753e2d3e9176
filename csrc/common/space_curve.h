// Codes of cells along curves that fill a cube of 2^depth cells a side. The bits of x, y, z take
// turns in a code, x above y above z, the highest bits first.
#pragma once

#include <cstdint>

#include "host_device.h"

namespace elite_ops {

constexpr int kMaxCurveDepth = 21;  // three times as many bits fit in 63

// What codes are wanted, and of which cells: those of samples below 2^(63 - 3 depth).
struct CurveArguments {
  bool hilbert;     // or z-order
  bool transposed;  // x and y change places
  int depth;

  ELITE_HOST_DEVICE int64_t num_samples() const { return int64_t{1} << (63 - 3 * depth); }

  // Whether batch, x, y, z have a code.
  ELITE_HOST_DEVICE bool contains(const int32_t* index) const {
    const int32_t negative = index[0] | index[1] | index[2] | index[3];
    const int32_t beyond = (index[1] | index[2] | index[3]) >> depth;
    return negative >= 0 && beyond == 0 && index[0] < num_samples();
  }
};

// Moves bit i to bit 3 i, for 21 bits.
ELITE_HOST_DEVICE inline uint64_t spread_bits(uint32_t cell) {
  uint64_t bits = cell;
  bits = (bits | bits << 32) & 0x001F00000000FFFFu;
  bits = (bits | bits << 16) & 0x001F0000FF0000FFu;
  bits = (bits | bits << 8) & 0x100F00F00F00F00Fu;
  bits = (bits | bits << 4) & 0x10C30C30C30C30C3u;
  return (bits | bits << 2) & 0x1249249249249249u;
}

ELITE_HOST_DEVICE inline uint64_t interleave(uint32_t x, uint32_t y, uint32_t z) {
  return spread_bits(x) << 2 | spread_bits(y) << 1 | spread_bits(z);
}

// Turns the lower bits of a cell into the frame that the curve has inside of the octant which bit
// `bit` of x, y, z names (Skilling, 2004). To be called from the highest bit down to bit 1. The
// cell is then the Gray code of its place along the curve, interleaved.
ELITE_HOST_DEVICE inline void enter_octant(int bit, uint32_t& x, uint32_t& y, uint32_t& z) {
  const uint32_t lower = (1u << bit) - 1;
  // An axis whose bit is set mirrors x, and one whose bit is not set changes places with x.
  const auto is_set = [bit](uint32_t axis) { return 0u - (axis >> bit & 1u); };
  x ^= lower & is_set(x);
  const uint32_t set_y = is_set(y), swap_y = (x ^ y) & lower & ~set_y;
  x ^= (lower & set_y) | swap_y;
  y ^= swap_y;
  const uint32_t set_z = is_set(z), swap_z = (x ^ z) & lower & ~set_z;
  x ^= (lower & set_z) | swap_z;
  z ^= swap_z;
}

// The number whose Gray code this is.
ELITE_HOST_DEVICE inline uint64_t from_gray(uint64_t code) {
  for (int shift = 32; shift > 0; shift /= 2) code ^= code >> shift;
  return code;
}

}  // namespace elite_ops
