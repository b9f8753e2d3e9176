// The pairs of rows that meet under one offset, read from the neighbour table.
#pragma once

#include <cstdint>

namespace elite_ops::cpu {

// Writes the valid pairs of `neighbors[first, last)` of one offset: rows_in the input row, rows_out
// the output row counted from `first`. Both need last - first entries. Returns how many there are;
// clears `in_range` when an entry is outside [-1, num_in).
inline int64_t collect_pairs(const int32_t* neighbors, int64_t first, int64_t last, int64_t num_in,
                             int32_t* rows_in, int32_t* rows_out, bool& in_range) {
  int64_t count = 0;
  bool all_in_range = true;
  for (int64_t i = first; i < last; ++i) {
    const int32_t row = neighbors[i];
    const bool is_valid = row >= 0 && row < num_in;
    rows_in[count] = row;
    rows_out[count] = static_cast<int32_t>(i - first);
    count += is_valid;
    all_in_range &= is_valid | (row == -1);
  }
  in_range &= all_in_range;
  return count;
}

}  // namespace elite_ops::cpu
