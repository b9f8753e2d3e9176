// One of the two tables of a kernel map: which row of one side meets a row of the other under each
// offset.
#pragma once

#include <cstdint>

namespace elite_ops {

struct KernelTable {
  const int32_t* rows;  // [num_offsets, num_columns]: the row that a column meets, -1 none
  int64_t num_offsets;
  int64_t num_columns;  // rows that are computed
  int64_t num_rows;     // rows that are met: valid entries are below
};

}  // namespace elite_ops
