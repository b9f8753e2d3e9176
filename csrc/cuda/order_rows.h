// The rows of a kernel map in groups that meet much the same offsets.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "common/row_pattern.h"

namespace elite_ops::cuda {

size_t order_rows_workspace_bytes(int64_t num_rows);

// Writes order [V], the rows by group, then by number, and ordered_rows [K, V] = in_rows[:, order].
cudaError_t order_rows(const RowPatterns& groups, const int32_t* in_rows, int64_t num_rows,
                       void* workspace, int32_t* order, int32_t* ordered_rows, cudaStream_t stream);

}  // namespace elite_ops::cuda
