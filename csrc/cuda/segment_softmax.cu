#include <cmath>

#include "cuda/accumulate.cuh"
#include "cuda/row_groups.cuh"
#include "cuda/segment_softmax.h"
#include "cuda/workspace.cuh"

// What a point needs to know about its segment is found first, by segment; then every point writes
// its own row.
namespace elite_ops::cuda {
namespace {

// One channel of the points of one segment.
template <typename scalar_t>
struct Column {
  using accumulate = accumulate_t<scalar_t>;

  const scalar_t* values;  // of point 0
  int64_t channels;
  const int32_t* points;
  int32_t count;

  __device__ __forceinline__ Column(const scalar_t* src, int64_t num_channels, int64_t channel,
                                    const Csr& segments, int64_t segment)
      : values(src + channel),
        channels(num_channels),
        points(segments.columns + segments.offsets[segment]),
        count(segments.offsets[segment + 1] - segments.offsets[segment]) {}

  __device__ __forceinline__ accumulate operator[](int32_t k) const {
    return static_cast<accumulate>(values[points[k] * channels]);
  }

  // A NaN counts if it is the first. Of an empty segment 0.
  __device__ __forceinline__ accumulate largest() const {
    accumulate largest = count > 0 ? (*this)[0] : accumulate(0);
    for (int32_t k = 1; k < count; ++k) {
      const accumulate value = (*this)[k];
      largest = value > largest ? value : largest;
    }
    return largest;
  }
};

template <typename scalar_t>
struct Denominators {
  using accumulate = accumulate_t<scalar_t>;
  accumulate* largest;  // [segments, channels]
  accumulate* sum;      // [segments, channels], of exponentials of what lies below the largest
};

template <typename scalar_t>
__global__ void denominator_kernel(const scalar_t* __restrict__ src, int64_t channels, Csr segments,
                                   int lanes, Denominators<scalar_t> out) {
  using accumulate = accumulate_t<scalar_t>;
  const RowGroup place(lanes);
  const int64_t segment = place.row();
  if (segment >= segments.rows) return;
  for (int64_t c = place.lane; c < channels; c += lanes) {
    const Column<scalar_t> column(src, channels, c, segments, segment);
    const accumulate largest = column.largest();
    accumulate sum = 0;
    for (int32_t k = 0; k < column.count; ++k) sum += std::exp(column[k] - largest);
    out.largest[segment * channels + c] = largest;
    out.sum[segment * channels + c] = sum;
  }
}

template <typename scalar_t>
__global__ void softmax_kernel(const scalar_t* __restrict__ src,
                               const int32_t* __restrict__ inverse, int64_t num_points,
                               int64_t num_segments, int64_t channels, int lanes,
                               Denominators<scalar_t> of_segments, scalar_t* __restrict__ out) {
  using accumulate = accumulate_t<scalar_t>;
  const RowGroup place(lanes);
  const int64_t point = place.row();
  if (point >= num_points) return;
  const int64_t segment = inverse[point];
  const bool is_inside = segment >= 0 && segment < num_segments;
  for (int64_t c = place.lane; c < channels; c += lanes) {
    accumulate value = 0;
    if (is_inside) {
      const int64_t cell = segment * channels + c;
      const auto own = static_cast<accumulate>(src[point * channels + c]);
      value = std::exp(own - of_segments.largest[cell]) / of_segments.sum[cell];
    }
    out[point * channels + c] = static_cast<scalar_t>(value);
  }
}

template <typename scalar_t>
__global__ void logsumexp_kernel(const scalar_t* __restrict__ src, int64_t channels, Csr segments,
                                 int lanes, scalar_t* __restrict__ out) {
  using accumulate = accumulate_t<scalar_t>;
  const RowGroup place(lanes);
  const int64_t segment = place.row();
  if (segment >= segments.rows) return;
  for (int64_t c = place.lane; c < channels; c += lanes) {
    const Column<scalar_t> column(src, channels, c, segments, segment);
    const accumulate largest = column.largest();
    accumulate sum = 0;
    for (int32_t k = 0; k < column.count; ++k) {
      const accumulate value = column[k];
      const accumulate power = std::exp(value - largest);
      sum += value == largest ? accumulate(1) : power;  // also where both are infinite
    }
    out[segment * channels + c] = static_cast<scalar_t>(largest + std::log(sum));
  }
}

template <typename scalar_t>
__global__ void product_kernel(const scalar_t* __restrict__ grad_out,
                               const scalar_t* __restrict__ out, int64_t channels, Csr segments,
                               int lanes, accumulate_t<scalar_t>* __restrict__ product) {
  const RowGroup place(lanes);
  const int64_t segment = place.row();
  if (segment >= segments.rows) return;
  for (int64_t c = place.lane; c < channels; c += lanes) {
    const Column<scalar_t> grad(grad_out, channels, c, segments, segment);
    const Column<scalar_t> value(out, channels, c, segments, segment);
    accumulate_t<scalar_t> sum = 0;
    for (int32_t k = 0; k < grad.count; ++k) sum += grad[k] * value[k];
    product[segment * channels + c] = sum;
  }
}

template <typename scalar_t>
__global__ void softmax_backward_kernel(const scalar_t* __restrict__ grad_out,
                                        const scalar_t* __restrict__ out,
                                        const int32_t* __restrict__ inverse, int64_t num_points,
                                        int64_t num_segments, int64_t channels, int lanes,
                                        const accumulate_t<scalar_t>* __restrict__ product,
                                        scalar_t* __restrict__ grad_src) {
  using accumulate = accumulate_t<scalar_t>;
  const RowGroup place(lanes);
  const int64_t point = place.row();
  if (point >= num_points) return;
  const int64_t segment = inverse[point];
  const bool is_inside = segment >= 0 && segment < num_segments;
  for (int64_t c = place.lane; c < channels; c += lanes) {
    accumulate grad = 0;
    if (is_inside) {
      const int64_t i = point * channels + c;
      const auto own = static_cast<accumulate>(grad_out[i]);
      grad = static_cast<accumulate>(out[i]) * (own - product[segment * channels + c]);
    }
    grad_src[point * channels + c] = static_cast<scalar_t>(grad);
  }
}

}  // namespace

template <typename scalar_t>
size_t segment_softmax_workspace_bytes(int64_t num_segments, int64_t channels) {
  return 2 * sizeof(accumulate_t<scalar_t>) * num_segments * channels;
}

template <typename scalar_t>
cudaError_t segment_softmax(const scalar_t* src, const int32_t* inverse, int64_t num_points,
                            int64_t channels, const Csr& segments, void* workspace, scalar_t* out,
                            cudaStream_t stream) {
  if (num_points == 0 || channels == 0) return cudaSuccess;
  const int lanes = lanes_for(channels);
  auto* largest = static_cast<accumulate_t<scalar_t>*>(workspace);
  const Denominators<scalar_t> denominators{largest, largest + segments.rows * channels};
  if (segments.rows > 0) {
    const cudaLaunchConfig_t config = one_group_per(segments.rows, lanes, stream);
    ELITE_CUDA_TRY(cudaLaunchKernelEx(&config, denominator_kernel<scalar_t>, src, channels,
                                      segments, lanes, denominators));
  }
  const cudaLaunchConfig_t config = one_group_per(num_points, lanes, stream);
  return cudaLaunchKernelEx(&config, softmax_kernel<scalar_t>, src, inverse, num_points,
                            segments.rows, channels, lanes, denominators, out);
}

template <typename scalar_t>
cudaError_t segment_softmax_backward(const scalar_t* grad_out, const scalar_t* out,
                                     const int32_t* inverse, int64_t num_points, int64_t channels,
                                     const Csr& segments, void* workspace, scalar_t* grad_src,
                                     cudaStream_t stream) {
  if (num_points == 0 || channels == 0) return cudaSuccess;
  const int lanes = lanes_for(channels);
  auto* product = static_cast<accumulate_t<scalar_t>*>(workspace);
  if (segments.rows > 0) {
    const cudaLaunchConfig_t config = one_group_per(segments.rows, lanes, stream);
    ELITE_CUDA_TRY(cudaLaunchKernelEx(&config, product_kernel<scalar_t>, grad_out, out, channels,
                                      segments, lanes, product));
  }
  const cudaLaunchConfig_t config = one_group_per(num_points, lanes, stream);
  return cudaLaunchKernelEx(&config, softmax_backward_kernel<scalar_t>, grad_out, out, inverse,
                            num_points, segments.rows, channels, lanes,
                            static_cast<const accumulate_t<scalar_t>*>(product), grad_src);
}

template <typename scalar_t>
cudaError_t segment_logsumexp(const scalar_t* src, int64_t channels, const Csr& segments,
                              scalar_t* out, cudaStream_t stream) {
  if (segments.rows == 0 || channels == 0) return cudaSuccess;
  const int lanes = lanes_for(channels);
  const cudaLaunchConfig_t config = one_group_per(segments.rows, lanes, stream);
  return cudaLaunchKernelEx(&config, logsumexp_kernel<scalar_t>, src, channels, segments, lanes,
                            out);
}

#define INSTANTIATE(T)                                                                            \
  template size_t segment_softmax_workspace_bytes<T>(int64_t, int64_t);                           \
  template cudaError_t segment_softmax<T>(const T*, const int32_t*, int64_t, int64_t, const Csr&, \
                                          void*, T*, cudaStream_t);                               \
  template cudaError_t segment_softmax_backward<T>(const T*, const T*, const int32_t*, int64_t,   \
                                                   int64_t, const Csr&, void*, T*, cudaStream_t); \
  template cudaError_t segment_logsumexp<T>(const T*, int64_t, const Csr&, T*, cudaStream_t);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(__half)
INSTANTIATE(__nv_bfloat16)

}  // namespace elite_ops::cuda
