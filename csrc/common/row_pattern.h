// The groups of a kernel map's rows: rows that meet much the same offsets.
#pragma once

#include <cstdint>

#include "host_device.h"

namespace elite_ops {

// What a row meets is summed up in one bit per column of offsets (all that share x and y) and one
// per layer (all that share z): 12 bits for the 27 offsets of a 3 x 3 x 3 kernel. Groups are
// numbered along a Gray code, so that neighbouring groups differ in one bit.
struct RowPatterns {
  int64_t num_offsets;
  int64_t num_layers;  // the kernel's size along z

  ELITE_HOST_DEVICE int num_bits() const {
    return static_cast<int>(num_offsets / num_layers + num_layers);
  }
  // The bits that the offset of this column and layer sets.
  ELITE_HOST_DEVICE uint64_t bits(int64_t column, int64_t layer) const {
    return uint64_t{1} << (num_layers + column) | uint64_t{1} << layer;
  }
  // The place of the Gray code word `bits`: bit i is the parity of the bits from i up.
  ELITE_HOST_DEVICE static uint64_t number(uint64_t bits) {
    for (int step = 1; step < 64; step *= 2) bits ^= bits >> step;
    return bits;
  }
};

}  // namespace elite_ops
