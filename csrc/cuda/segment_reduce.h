// What segment sums and means (csr_reduce.h) don't cover: maxima, minima, and the gradients, on
// CUDA.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "common/csr.h"

namespace elite_ops::cuda {

// As cpu::segment_max. A segment is walked by one thread per channel, so a segment that holds
// everything is slow.
template <typename scalar_t>
cudaError_t segment_max(const scalar_t* src, int64_t channels, const Csr& segments, scalar_t* out,
                        int32_t* argmax, cudaStream_t stream);

// As cpu::segment_min, and as slow.
template <typename scalar_t>
cudaError_t segment_min(const scalar_t* src, int64_t channels, const Csr& segments, scalar_t* out,
                        int32_t* argmin, cudaStream_t stream);

// As cpu::segment_take.
template <typename scalar_t>
cudaError_t segment_take(const scalar_t* src, const int32_t* argmax, int64_t num_points,
                         int64_t num_segments, int64_t channels, scalar_t* out,
                         cudaStream_t stream);

// As cpu::segment_max_backward.
template <typename scalar_t>
cudaError_t segment_max_backward(const scalar_t* grad_out, const int32_t* argmax,
                                 const int32_t* inverse, int64_t num_points, int64_t num_segments,
                                 int64_t channels, scalar_t* grad_src, cudaStream_t stream);

// As cpu::segment_mean_backward.
template <typename scalar_t>
cudaError_t segment_mean_backward(const scalar_t* grad_out, const int32_t* inverse,
                                  const int32_t* offsets, int64_t num_points, int64_t num_segments,
                                  int64_t channels, scalar_t* grad_src, cudaStream_t stream);

}  // namespace elite_ops::cuda
