// How a sum over rows is cut into parts, each of which is summed alone: by the sizes, never by the
// number of threads.
#pragma once

#include <algorithm>
#include <cstdint>

namespace elite_ops {

struct RowSplits {
  int64_t rows;  // in a split
  int64_t count;
};

// About `wanted_rows` rows a split; fewer splits where all partial sums, `elements` in each, would
// exceed `max_elements`.
inline RowSplits row_splits(int64_t num_rows, int64_t wanted_rows, int64_t elements,
                            int64_t max_elements) {
  const int64_t wanted = (num_rows + wanted_rows - 1) / wanted_rows;
  const int64_t affordable = max_elements / std::max<int64_t>(1, elements);
  const int64_t count = std::max<int64_t>(1, std::min(wanted, affordable));
  const int64_t rows = (num_rows + count - 1) / count;
  return {rows, rows == 0 ? 1 : (num_rows + rows - 1) / rows};  // none is empty
}

}  // namespace elite_ops
