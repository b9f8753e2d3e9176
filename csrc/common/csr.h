// Compressed sparse rows, as the kernels receive them.
#pragma once

#include <cstdint>

namespace elite_ops {

// Row v owns the entries [offsets[v], offsets[v + 1]); entry e stands for the row `columns[e]` of
// some dense matrix, with the weight `weights[e]` (1 where `weights` is null). With weights, it may
// be -1, for none.
struct Csr {
  const int32_t* offsets;  // [rows + 1]
  const int32_t* columns;  // [offsets[rows]], or longer
  const float* weights;    // like `columns`, or null
  int64_t rows;
  // The valid rows (num_rows.h): the others are not written.
  const int64_t* num_rows = nullptr;
  // Where not null, entry e stands for row `via[columns[e]]`, and for none where that is -1.
  const int32_t* via = nullptr;
};

}  // namespace elite_ops
