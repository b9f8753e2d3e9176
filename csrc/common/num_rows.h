// Padded buffers: a fixed number of rows, of which the first few are valid. How many is a number on
// the device of the buffer, so that nobody waits for it; null where all rows are valid.
#pragma once

#include <cstdint>

#include "host_device.h"

namespace elite_ops {

// How many of `capacity` rows are valid. A count that doesn't fit is cut off: who made it reports
// it.
ELITE_HOST_DEVICE inline int64_t valid_rows(const int64_t* num_rows, int64_t capacity) {
  if (num_rows == nullptr || *num_rows > capacity) return capacity;
  return *num_rows < 0 ? 0 : *num_rows;
}

}  // namespace elite_ops
