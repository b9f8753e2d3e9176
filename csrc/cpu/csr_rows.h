// Threads over the rows of a CSR list.
#pragma once

#include <algorithm>
#include <cstdint>

#include "parallel.h"

namespace elite_ops::cpu {

// The work of a CSR list as one line, on which a row takes a position and each of its entries
// another: the 1 of each row keeps the rows' positions distinct.
struct CsrWork {
  const int32_t* offsets;
  int64_t rows;

  int64_t position(int64_t row) const { return offsets[row] + row; }
  int64_t first_row_from(int64_t target) const {
    int64_t low = 0, high = rows;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      (position(middle) < target ? low : high) = position(middle) < target ? middle + 1 : middle;
    }
    return low;
  }

  // Calls `body(begin, end)` on ranges of positions; `channels` is the work of an entry.
  template <typename Body>
  void share_out(int64_t channels, const Body& body) const {
    constexpr int64_t kElementsPerRange = 1 << 15;
    const int64_t grain_size =
        std::max<int64_t>(1, kElementsPerRange / std::max<int64_t>(1, channels));
    parallel_for(0, position(rows), grain_size, body);
  }
};

// Calls `body(begin, end)` on ranges that cover the rows [0, rows), possibly at the same time. The
// ranges hold about equally many entries, not rows: near the sensor a voxel has a hundred times the
// points of one far away.
template <typename Body>
void parallel_for_rows(const int32_t* offsets, int64_t rows, int64_t channels, const Body& body) {
  const CsrWork work{offsets, rows};
  work.share_out(channels, [&](int64_t begin, int64_t end) {
    body(work.first_row_from(begin), work.first_row_from(end));
  });
}

}  // namespace elite_ops::cpu
