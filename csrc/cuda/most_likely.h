// The column with the largest number of each row, on CUDA.
#pragma once

#include <cuda_runtime.h>

#include "common/most_likely.h"

namespace elite_ops::cuda {

// out[i] = the first column with the largest number of row i, NaN being larger than any other; 0
// where the row has no label. There must be a column that is not ignored.
template <typename scalar_t>
cudaError_t most_likely(const LogitRows<scalar_t>& in, int64_t* out, cudaStream_t stream);

}  // namespace elite_ops::cuda
