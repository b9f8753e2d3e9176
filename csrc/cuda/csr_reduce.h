// Sums of rows of a dense matrix, chosen and weighted by a CSR list (csrc/cpu/csr_reduce.h), on
// CUDA.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "common/csr.h"

namespace elite_ops::cuda {

// out[v] = the sum over the entries e of row v of weights[e] * src[columns[e]], in an order that
// depends on the row alone; divided by their number if `mean`. A row without entries becomes 0.
// Weights and `via` exclude each other.
// A row of up to 16 entries is added up in their order by one group of threads, one of up to 128 by
// a warp, a longer one by a block.
template <typename scalar_t>
cudaError_t csr_reduce(const scalar_t* src, int64_t channels, const Csr& csr, bool mean,
                       scalar_t* out, cudaStream_t stream);

}  // namespace elite_ops::cuda
