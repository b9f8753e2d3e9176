// Nearest neighbours of points on CUDA.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace elite_ops::cuda {

// queries [Q, 3], candidates [M, 3] with 0 < M < 2^31, nearest [Q]. Of equally near candidates the
// smallest row. What is not finite counts as 0 in a query, and as infinitely far in a candidate.
cudaError_t nearest_rows(const float* queries, int64_t num_queries, const float* candidates,
                         int64_t num_candidates, int64_t* nearest, cudaStream_t stream);

}  // namespace elite_ops::cuda
