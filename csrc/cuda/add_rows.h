// The sum of two matrices, of the valid rows of padded buffers alone, on CUDA.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace elite_ops::cuda {

// out = x + y for the first `num_rows` of `rows` rows (common/num_rows.h), rounded once.
template <typename scalar_t>
cudaError_t add_rows(const scalar_t* x, const scalar_t* y, int64_t rows, int64_t channels,
                     const int64_t* num_rows, scalar_t* out, cudaStream_t stream);

}  // namespace elite_ops::cuda
