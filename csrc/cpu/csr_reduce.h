// Sums of rows of a dense matrix, chosen and weighted by a CSR list: segment sums and means, the
// transition between scales, and the gradients of both.
#pragma once

#include <cstdint>

#include "common/csr.h"

namespace elite_ops::cpu {

// out[v] = the sum over the entries e of row v of weights[e] * src[columns[e]], in the order of the
// entries, those of long rows in pieces first (row_pieces.h); divided by their number if `mean`. A
// row without entries becomes 0. Weights and `via` exclude each other.
template <typename scalar_t>
void csr_reduce(const scalar_t* src, int64_t channels, const Csr& csr, bool mean, scalar_t* out);

}  // namespace elite_ops::cpu
