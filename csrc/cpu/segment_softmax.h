// The softmax over the points of each segment, and the logarithm of its denominator.
#pragma once

#include <cstdint>

#include "common/csr.h"

namespace elite_ops::cpu {

// out[i] = exp(src[i]) over the sum of the same of all points in the segment of point i, channel by
// channel and without overflow; 0 for points in no segment, of `num_points`. `segments` lists every
// point, those in none last.
template <typename scalar_t>
void segment_softmax(const scalar_t* src, int64_t num_points, int64_t channels, const Csr& segments,
                     scalar_t* out);

// grad_src[i] = out[i] * (grad_out[i] - the sum of grad_out * out in the segment of point i); 0 for
// points in none.
template <typename scalar_t>
void segment_softmax_backward(const scalar_t* grad_out, const scalar_t* out, int64_t num_points,
                              int64_t channels, const Csr& segments, scalar_t* grad_src);

// out[v] = log(the sum of exp(src[i]) over the points i of segment v); -inf where it is empty.
template <typename scalar_t>
void segment_logsumexp(const scalar_t* src, int64_t channels, const Csr& segments, scalar_t* out);

}  // namespace elite_ops::cpu
