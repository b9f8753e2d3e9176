// Threads over the rows of a CSR list.
#pragma once

#include <algorithm>
#include <cstdint>

#include "parallel.h"

namespace elite_ops::cpu {

// Calls `body(begin, end)` on ranges that cover the rows [0, rows), possibly at the same time. The
// ranges hold about equally many entries, not rows: near the sensor a voxel has a hundred times the
// points of one far away. `channels` is the work of an entry.
template <typename Body>
void parallel_for_rows(const int32_t* offsets, int64_t rows, int64_t channels, const Body& body) {
  constexpr int64_t kElementsPerRange = 1 << 15;
  // A row begins at this position of the work; the 1 of each row keeps the positions distinct.
  const auto position = [&](int64_t row) { return offsets[row] + row; };
  const auto first_row_from = [&](int64_t target) {
    int64_t low = 0, high = rows;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      (position(middle) < target ? low : high) = position(middle) < target ? middle + 1 : middle;
    }
    return low;
  };
  const int64_t grain_size =
      std::max<int64_t>(1, kElementsPerRange / std::max<int64_t>(1, channels));
  parallel_for(0, position(rows), grain_size, [&](int64_t begin, int64_t end) {
    body(first_row_from(begin), first_row_from(end));
  });
}

}  // namespace elite_ops::cpu
