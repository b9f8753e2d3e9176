// Rows of numbers, of each of which the largest is sought.
#pragma once

#include <cstdint>

#include "host_device.h"

namespace elite_ops {

template <typename scalar_t>
struct LogitRows {
  const scalar_t* logits;
  int64_t rows, stride;  // from row to row; neighbouring columns are side by side
  int32_t columns;
  int32_t ignored;  // a column that is passed over; -1 for none
  // Which rows have a label: those that are true, or that have a number that is not negative; all
  // where both are null.
  const bool* valid = nullptr;
  const int32_t* row_numbers = nullptr;

  ELITE_HOST_DEVICE bool has_label(int64_t row) const {
    if (valid != nullptr) return valid[row];
    return row_numbers == nullptr || row_numbers[row] >= 0;
  }
};

}  // namespace elite_ops
