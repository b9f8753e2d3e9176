#include "cuda/accumulate.cuh"
#include "cuda/row_groups.cuh"
#include "cuda/segment_reduce.h"

namespace elite_ops::cuda {
namespace {

template <bool largest, typename scalar_t>
__global__ void extreme_kernel(const scalar_t* __restrict__ src, int64_t channels, Csr segments,
                               int lanes, scalar_t* __restrict__ out,
                               int32_t* __restrict__ out_point) {
  using accumulate = accumulate_t<scalar_t>;
  const RowGroup place(lanes);
  const int64_t segment = place.row();
  if (segment >= segments.rows) return;
  const int32_t begin = segments.offsets[segment], end = segments.offsets[segment + 1];
  for (int64_t c = place.lane; c < channels; c += lanes) {
    accumulate best = 0;
    int32_t best_point = -1;
    for (int32_t e = begin; e < end; ++e) {
      const int32_t point = segments.columns[e];
      const auto value = static_cast<accumulate>(src[point * channels + c]);
      // Not whether the value is beyond the best one: a NaN wins, and the first one stays.
      const bool loses = largest ? value <= best : value >= best;
      if (e == begin || (!loses && best == best)) {
        best = value;
        best_point = point;
      }
    }
    out[segment * channels + c] = static_cast<scalar_t>(best);
    out_point[segment * channels + c] = best_point;
  }
}

template <typename scalar_t>
__global__ void take_kernel(const scalar_t* __restrict__ src, const int32_t* __restrict__ argmax,
                            int64_t num_points, int64_t num_segments, int64_t channels, int lanes,
                            scalar_t* __restrict__ out) {
  const RowGroup place(lanes);
  const int64_t segment = place.row();
  if (segment >= num_segments) return;
  for (int64_t c = place.lane; c < channels; c += lanes) {
    const int64_t cell = segment * channels + c, point = argmax[cell];
    const bool is_there = point >= 0 && point < num_points;
    out[cell] = is_there ? src[point * channels + c] : static_cast<scalar_t>(0.f);
  }
}

template <typename scalar_t>
__global__ void max_backward_kernel(const scalar_t* __restrict__ grad_out,
                                    const int32_t* __restrict__ argmax,
                                    const int32_t* __restrict__ inverse, int64_t num_points,
                                    int64_t num_segments, int64_t channels, int lanes,
                                    scalar_t* __restrict__ grad_src) {
  const RowGroup place(lanes);
  const int64_t point = place.row();
  if (point >= num_points) return;
  const int64_t segment = inverse[point];
  const bool is_inside = segment >= 0 && segment < num_segments;
  for (int64_t c = place.lane; c < channels; c += lanes) {
    const int64_t cell = segment * channels + c;
    const bool is_winner = is_inside && argmax[cell] == point;
    grad_src[point * channels + c] = is_winner ? grad_out[cell] : static_cast<scalar_t>(0.f);
  }
}

template <typename scalar_t>
__global__ void mean_backward_kernel(const scalar_t* __restrict__ grad_out,
                                     const int32_t* __restrict__ inverse,
                                     const int32_t* __restrict__ offsets, int64_t num_points,
                                     int64_t num_segments, int64_t channels, int lanes,
                                     scalar_t* __restrict__ grad_src) {
  using accumulate = accumulate_t<scalar_t>;
  const RowGroup place(lanes);
  const int64_t point = place.row();
  if (point >= num_points) return;
  const int64_t segment = inverse[point];
  const bool is_inside = segment >= 0 && segment < num_segments;
  const auto count =
      static_cast<accumulate>(is_inside ? offsets[segment + 1] - offsets[segment] : 1);
  for (int64_t c = place.lane; c < channels; c += lanes) {
    accumulate grad = 0;
    if (is_inside) grad = static_cast<accumulate>(grad_out[segment * channels + c]) / count;
    grad_src[point * channels + c] = static_cast<scalar_t>(grad);
  }
}

template <bool largest, typename scalar_t>
cudaError_t segment_extreme(const scalar_t* src, int64_t channels, const Csr& segments,
                            scalar_t* out, int32_t* out_point, cudaStream_t stream) {
  if (segments.rows == 0 || channels == 0) return cudaSuccess;
  const int lanes = lanes_for(channels);
  const cudaLaunchConfig_t config = one_group_per(segments.rows, lanes, stream);
  return cudaLaunchKernelEx(&config, extreme_kernel<largest, scalar_t>, src, channels, segments,
                            lanes, out, out_point);
}

}  // namespace

template <typename scalar_t>
cudaError_t segment_max(const scalar_t* src, int64_t channels, const Csr& segments, scalar_t* out,
                        int32_t* argmax, cudaStream_t stream) {
  return segment_extreme<true>(src, channels, segments, out, argmax, stream);
}

template <typename scalar_t>
cudaError_t segment_min(const scalar_t* src, int64_t channels, const Csr& segments, scalar_t* out,
                        int32_t* argmin, cudaStream_t stream) {
  return segment_extreme<false>(src, channels, segments, out, argmin, stream);
}

template <typename scalar_t>
cudaError_t segment_take(const scalar_t* src, const int32_t* argmax, int64_t num_points,
                         int64_t num_segments, int64_t channels, scalar_t* out,
                         cudaStream_t stream) {
  if (num_segments == 0 || channels == 0) return cudaSuccess;
  const int lanes = lanes_for(channels);
  const cudaLaunchConfig_t config = one_group_per(num_segments, lanes, stream);
  return cudaLaunchKernelEx(&config, take_kernel<scalar_t>, src, argmax, num_points, num_segments,
                            channels, lanes, out);
}

template <typename scalar_t>
cudaError_t segment_max_backward(const scalar_t* grad_out, const int32_t* argmax,
                                 const int32_t* inverse, int64_t num_points, int64_t num_segments,
                                 int64_t channels, scalar_t* grad_src, cudaStream_t stream) {
  if (num_points == 0 || channels == 0) return cudaSuccess;
  const int lanes = lanes_for(channels);
  const cudaLaunchConfig_t config = one_group_per(num_points, lanes, stream);
  return cudaLaunchKernelEx(&config, max_backward_kernel<scalar_t>, grad_out, argmax, inverse,
                            num_points, num_segments, channels, lanes, grad_src);
}

template <typename scalar_t>
cudaError_t segment_mean_backward(const scalar_t* grad_out, const int32_t* inverse,
                                  const int32_t* offsets, int64_t num_points, int64_t num_segments,
                                  int64_t channels, scalar_t* grad_src, cudaStream_t stream) {
  if (num_points == 0 || channels == 0) return cudaSuccess;
  const int lanes = lanes_for(channels);
  const cudaLaunchConfig_t config = one_group_per(num_points, lanes, stream);
  return cudaLaunchKernelEx(&config, mean_backward_kernel<scalar_t>, grad_out, inverse, offsets,
                            num_points, num_segments, channels, lanes, grad_src);
}

#define INSTANTIATE(T)                                                                             \
  template cudaError_t segment_max<T>(const T*, int64_t, const Csr&, T*, int32_t*, cudaStream_t);  \
  template cudaError_t segment_min<T>(const T*, int64_t, const Csr&, T*, int32_t*, cudaStream_t);  \
  template cudaError_t segment_take<T>(const T*, const int32_t*, int64_t, int64_t, int64_t, T*,    \
                                       cudaStream_t);                                              \
  template cudaError_t segment_max_backward<T>(const T*, const int32_t*, const int32_t*, int64_t,  \
                                               int64_t, int64_t, T*, cudaStream_t);                \
  template cudaError_t segment_mean_backward<T>(const T*, const int32_t*, const int32_t*, int64_t, \
                                                int64_t, int64_t, T*, cudaStream_t);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(__half)
INSTANTIATE(__nv_bfloat16)

}  // namespace elite_ops::cuda
