#include "segment_softmax.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "aligned_buffer.h"
#include "csr_rows.h"
#include "exp_nonpositive.h"
#include "prefetch.h"
#include "vectors.h"

namespace elite_ops::cpu {
namespace {

// The rows of the points of one segment.
template <typename scalar_t>
struct Segment {
  const int32_t* points;
  int64_t count;
  int64_t channels;

  ELITE_ALWAYS_INLINE Segment(const Csr& segments, int64_t segment, int64_t num_channels)
      : points(segments.columns + segments.offsets[segment]),
        count(segments.offsets[segment + 1] - segments.offsets[segment]),
        channels(num_channels) {}

  // The largest value of each channel; a NaN counts if it is the first.
  ELITE_ALWAYS_INLINE void find_largest(const scalar_t* src, scalar_t* __restrict__ largest) const {
    std::copy_n(src + points[0] * channels, channels, largest);
    for (int64_t k = 1; k < count; ++k) {
      const scalar_t* __restrict__ row = src + points[k] * channels;
      for (int64_t c = 0; c < channels; ++c) largest[c] = row[c] > largest[c] ? row[c] : largest[c];
    }
  }

  ELITE_ALWAYS_INLINE void softmax(const scalar_t* src, scalar_t* __restrict__ largest,
                                   scalar_t* __restrict__ sum, scalar_t* out) const {
    if (count == 0) return;
    find_largest(src, largest);
    std::fill_n(sum, channels, scalar_t(0));
    for (int64_t k = 0; k < count; ++k) {
      const scalar_t* __restrict__ row = src + points[k] * channels;
      scalar_t* __restrict__ power = out + points[k] * channels;
      for (int64_t c = 0; c < channels; ++c) {
        power[c] = exp_nonpositive(row[c] - largest[c]);
        sum[c] += power[c];
      }
    }
    for (int64_t k = 0; k < count; ++k) {
      scalar_t* __restrict__ power = out + points[k] * channels;
      for (int64_t c = 0; c < channels; ++c) power[c] /= sum[c];
    }
  }

  ELITE_ALWAYS_INLINE void softmax_backward(const scalar_t* grad_out, const scalar_t* out,
                                            scalar_t* __restrict__ product,
                                            scalar_t* grad_src) const {
    std::fill_n(product, channels, scalar_t(0));
    for (int64_t k = 0; k < count; ++k) {
      const scalar_t* __restrict__ grad = grad_out + points[k] * channels;
      const scalar_t* __restrict__ value = out + points[k] * channels;
      for (int64_t c = 0; c < channels; ++c) product[c] += grad[c] * value[c];
    }
    for (int64_t k = 0; k < count; ++k) {
      const scalar_t* __restrict__ grad = grad_out + points[k] * channels;
      const scalar_t* __restrict__ value = out + points[k] * channels;
      scalar_t* __restrict__ result = grad_src + points[k] * channels;
      for (int64_t c = 0; c < channels; ++c) result[c] = value[c] * (grad[c] - product[c]);
    }
  }

  ELITE_ALWAYS_INLINE void logsumexp(const scalar_t* src, scalar_t* __restrict__ largest,
                                     scalar_t* __restrict__ sum) const {
    std::fill_n(sum, channels, -std::numeric_limits<scalar_t>::infinity());
    if (count == 0) return;
    if (count == 1) {  // half of a scan's voxels; logarithms are what takes time
      std::copy_n(src + points[0] * channels, channels, sum);
      return;
    }
    find_largest(src, largest);
    std::fill_n(sum, channels, scalar_t(0));
    for (int64_t k = 0; k < count; ++k) {
      const scalar_t* __restrict__ row = src + points[k] * channels;
      for (int64_t c = 0; c < channels; ++c) {
        const scalar_t power = exp_nonpositive(row[c] - largest[c]);
        sum[c] += row[c] == largest[c] ? scalar_t(1) : power;  // also where both are infinite
      }
    }
    for (int64_t c = 0; c < channels; ++c) sum[c] = largest[c] + std::log(sum[c]);
  }
};

// Calls `body(segment, v, scratch)` for every segment, with two rows of scratch.
template <typename scalar_t, typename Body>
void for_each_segment(const scalar_t* src, int64_t channels, const Csr& segments,
                      const Body& body) {
  parallel_for_rows(segments.offsets, segments.rows, channels, [&](int64_t begin, int64_t end) {
    AlignedBuffer<scalar_t> buffer(2 * channels);
    scalar_t* scratch = buffer.data();
    const int32_t last = segments.offsets[end];
    const auto run = [&, scratch](int64_t from, int64_t to) __attribute__((always_inline)) {
      for (int64_t v = from; v < to; ++v) {
        const int32_t ahead = segments.offsets[v] + kPrefetchDistance;
        for (int32_t e = ahead; e < segments.offsets[v + 1] + kPrefetchDistance && e < last; ++e) {
          prefetch_row(src + segments.columns[e] * channels, channels);
        }
        body(Segment<scalar_t>(segments, v, channels), v, scratch);
      }
    };
    run_vectorized(run, begin, end);
  });
}

// Clears the rows of the points in no segment.
template <typename scalar_t>
void clear_others(const Csr& segments, int64_t num_points, int64_t channels, scalar_t* rows) {
  parallel_for(segments.offsets[segments.rows], num_points, 256, [&](int64_t begin, int64_t end) {
    for (int64_t e = begin; e < end; ++e) {
      std::fill_n(rows + segments.columns[e] * channels, channels, scalar_t(0));
    }
  });
}

}  // namespace

template <typename scalar_t>
void segment_softmax(const scalar_t* src, int64_t num_points, int64_t channels, const Csr& segments,
                     scalar_t* out) {
  for_each_segment(src, channels, segments,
                   [=](const Segment<scalar_t>& segment, int64_t, scalar_t* scratch) __attribute__((
                       always_inline)) { segment.softmax(src, scratch, scratch + channels, out); });
  clear_others(segments, num_points, channels, out);
}

template <typename scalar_t>
void segment_softmax_backward(const scalar_t* grad_out, const scalar_t* out, int64_t num_points,
                              int64_t channels, const Csr& segments, scalar_t* grad_src) {
  for_each_segment(grad_out, channels, segments,
                   [=](const Segment<scalar_t>& segment, int64_t, scalar_t* scratch)
                       __attribute__((always_inline)) {
                         segment.softmax_backward(grad_out, out, scratch, grad_src);
                       });
  clear_others(segments, num_points, channels, grad_src);
}

template <typename scalar_t>
void segment_logsumexp(const scalar_t* src, int64_t channels, const Csr& segments, scalar_t* out) {
  for_each_segment(
      src, channels, segments,
      [=](const Segment<scalar_t>& segment, int64_t v, scalar_t* scratch)
          __attribute__((always_inline)) { segment.logsumexp(src, scratch, out + v * channels); });
}

#define INSTANTIATE(T)                                                                             \
  template void segment_softmax<T>(const T*, int64_t, int64_t, const Csr&, T*);                    \
  template void segment_softmax_backward<T>(const T*, const T*, int64_t, int64_t, const Csr&, T*); \
  template void segment_logsumexp<T>(const T*, int64_t, const Csr&, T*);
INSTANTIATE(float)
INSTANTIATE(double)

}  // namespace elite_ops::cpu
