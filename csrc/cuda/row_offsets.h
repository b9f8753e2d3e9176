// Where each row begins in a list that is sorted by row.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace elite_ops::cuda {

// offsets[v] = the first item of a row from v on; offsets[num_rows] = the items of all rows. Items
// of no row have a number from `num_rows` on.
cudaError_t row_offsets(const uint32_t* sorted_rows, int64_t num_items, int64_t num_rows,
                        int32_t* offsets, cudaStream_t stream);

}  // namespace elite_ops::cuda
