// The softmax over the points of each segment, and the logarithm of its denominator, on CUDA. A
// segment is walked by one thread per channel, so a segment that holds everything is slow.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "common/csr.h"

namespace elite_ops::cuda {

// Scratch of segment_softmax and of segment_softmax_backward.
template <typename scalar_t>
size_t segment_softmax_workspace_bytes(int64_t num_segments, int64_t channels);

// As cpu::segment_softmax. `inverse` is the segment of each point.
template <typename scalar_t>
cudaError_t segment_softmax(const scalar_t* src, const int32_t* inverse, int64_t num_points,
                            int64_t channels, const Csr& segments, void* workspace, scalar_t* out,
                            cudaStream_t stream);

// As cpu::segment_softmax_backward.
template <typename scalar_t>
cudaError_t segment_softmax_backward(const scalar_t* grad_out, const scalar_t* out,
                                     const int32_t* inverse, int64_t num_points, int64_t channels,
                                     const Csr& segments, void* workspace, scalar_t* grad_src,
                                     cudaStream_t stream);

// As cpu::segment_logsumexp.
template <typename scalar_t>
cudaError_t segment_logsumexp(const scalar_t* src, int64_t channels, const Csr& segments,
                              scalar_t* out, cudaStream_t stream);

}  // namespace elite_ops::cuda
