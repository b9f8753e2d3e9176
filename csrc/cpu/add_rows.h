// The sum of two matrices, of the valid rows of padded buffers alone.
#pragma once

#include <cstdint>

namespace elite_ops::cpu {

// out = x + y for the first `rows` rows.
template <typename scalar_t>
void add_rows(const scalar_t* x, const scalar_t* y, int64_t rows, int64_t channels, scalar_t* out);

}  // namespace elite_ops::cpu
