// Kernel maps for the tests of what is computed over them: two tables that say the same.
#pragma once

#include "cases.h"
#include "common/kernel_table.h"

struct TableCase {
  int64_t num_in, num_out, num_offsets;
  std::vector<int32_t> in_rows, out_rows;  // [num_offsets, num_out], [num_offsets, num_in]

  // Two rows meet under one offset at most; about one place in `one_in` of the table holds a row,
  // and stretches of the output meet nothing.
  TableCase(int64_t inputs, int64_t outputs, int64_t offsets, int64_t one_in = 3)
      : num_in(inputs),
        num_out(outputs),
        num_offsets(offsets),
        in_rows(offsets * outputs, -1),
        out_rows(offsets * inputs, -1) {
    harness::Random random(inputs * 1000 + outputs + offsets);
    for (int64_t k = 0; k < offsets && inputs > 0; ++k) {
      for (int64_t i = 0; i < outputs; ++i) {
        // Fewer offsets than input rows: no two of them lead from i to the same.
        const int64_t j = ((i - k) % inputs + inputs) % inputs;
        const bool meets = i % 80 < 60 && k < inputs && random.integer(one_in) == 0;
        if (!meets || out_rows[k * inputs + j] >= 0) continue;
        in_rows[k * outputs + i] = static_cast<int32_t>(j);
        out_rows[k * inputs + j] = static_cast<int32_t>(i);
      }
    }
  }

  elite_ops::KernelTable forward() const { return {in_rows.data(), num_offsets, num_out, num_in}; }
  elite_ops::KernelTable backward() const {
    return {out_rows.data(), num_offsets, num_in, num_out};
  }

  // Calls `body(i, k, j)` where output row i meets input row j under offset k: i, then k, ascend.
  template <typename Body>
  void for_each_pair(const Body& body) const {
    for (int64_t i = 0; i < num_out; ++i) {
      for (int64_t k = 0; k < num_offsets; ++k) {
        const int32_t j = in_rows[k * num_out + i];
        if (j >= 0) body(i, k, int64_t{j});
      }
    }
  }
};

// Sizes around what a loop takes at a time: 32 columns, and 32 offsets.
inline std::vector<TableCase> table_cases() {
  return {TableCase(50, 50, 27),    TableCase(70, 33, 5),  TableCase(20, 64, 8),
          TableCase(90, 97, 40, 5), TableCase(3, 1, 2, 1), TableCase(0, 9, 3),
          TableCase(9, 0, 3),       TableCase(200, 200, 0)};
}
