// What segment sums and means (csr_reduce.h) don't cover: maxima, minima, and the gradients.
#pragma once

#include <cstdint>

#include "common/csr.h"

namespace elite_ops::cpu {

// out[v] = the largest value per channel, NaN above all, and argmax[v] = the first point that has
// it; 0 and -1 where a segment is empty.
template <typename scalar_t>
void segment_max(const scalar_t* src, int64_t channels, const Csr& segments, scalar_t* out,
                 int32_t* argmax);

// The same of the smallest value, NaN below all.
template <typename scalar_t>
void segment_min(const scalar_t* src, int64_t channels, const Csr& segments, scalar_t* out,
                 int32_t* argmin);

// out[v] = the value of point argmax[v], channel by channel; 0 where that names none of
// `num_points`.
template <typename scalar_t>
void segment_take(const scalar_t* src, const int32_t* argmax, int64_t num_points,
                  int64_t num_segments, int64_t channels, scalar_t* out);

// grad_src[i] = grad_out[inverse[i]] where point i is the argmax (or argmin), else 0.
template <typename scalar_t>
void segment_max_backward(const scalar_t* grad_out, const int32_t* argmax, const int32_t* inverse,
                          int64_t num_points, int64_t num_segments, int64_t channels,
                          scalar_t* grad_src);

// grad_src[i] = grad_out[inverse[i]] / the number of points in the segment; 0 outside all segments.
template <typename scalar_t>
void segment_mean_backward(const scalar_t* grad_out, const int32_t* inverse, const int32_t* offsets,
                           int64_t num_points, int64_t num_segments, int64_t channels,
                           scalar_t* grad_src);

}  // namespace elite_ops::cpu
