// The pairs of rows that meet under one offset, read from the neighbour table.
#pragma once

#include <cstdint>

namespace elite_ops::cpu {

// Writes the valid pairs of `neighbors[first, last)` of one offset: rows_in the input row, rows_out
// the output row counted from `first`. Both need last - first entries. Returns how many there are;
// clears `in_range` when an entry is outside [-1, num_in).
// Without branches: whether a voxel has a neighbour is unpredictable.
inline int64_t collect_pairs(const int32_t* neighbors, int64_t first, int64_t last, int64_t num_in,
                             int32_t* rows_in, int32_t* rows_out, bool& in_range) {
  int64_t count = 0;
  uint32_t outside = 0;
  for (int64_t i = first; i < last; ++i) {
    const int32_t row = neighbors[i];
    const uint32_t is_valid = static_cast<uint32_t>(row) < static_cast<uint32_t>(num_in);
    rows_in[count] = row;
    rows_out[count] = static_cast<int32_t>(i - first);
    count += is_valid;
    outside |= ~is_valid & static_cast<uint32_t>(row != -1);
  }
  in_range &= outside == 0;
  return count;
}

template <typename T>
void prefetch_row(const T* row, int64_t channels) {
  constexpr int64_t kPerLine = 64 / sizeof(T);
  for (int64_t c = 0; c < channels; c += kPerLine) __builtin_prefetch(row + c);
}

}  // namespace elite_ops::cpu
