#include "segment_reduce.h"

#include <algorithm>

#include "csr_rows.h"
#include "prefetch.h"

namespace elite_ops::cpu {
namespace {

template <typename scalar_t>
void max_into(const scalar_t* __restrict__ row, int32_t point, int64_t channels,
              scalar_t* __restrict__ best, int32_t* __restrict__ argmax) {
  for (int64_t c = 0; c < channels; ++c) {
    // Not `row > best`: a NaN wins, and the first one stays.
    const bool wins = !(row[c] <= best[c]) && best[c] == best[c];
    best[c] = wins ? row[c] : best[c];
    argmax[c] = wins ? point : argmax[c];
  }
}

// Calls `body(i, segment)` for every point in a segment, and clears the rows of the others.
template <typename scalar_t, typename Body>
void for_each_point(const int32_t* inverse, int64_t num_points, int64_t num_segments,
                    int64_t channels, scalar_t* grad_src, const Body& body) {
  parallel_for(0, num_points, 1024, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (inverse[i] >= 0 && inverse[i] < num_segments) {
        body(i, int64_t{inverse[i]});
      } else {
        std::fill_n(grad_src + i * channels, channels, scalar_t(0));
      }
    }
  });
}

}  // namespace

template <typename scalar_t>
void segment_max(const scalar_t* src, int64_t channels, const Csr& segments, scalar_t* out,
                 int32_t* argmax) {
  const int32_t* offsets = segments.offsets;
  parallel_for_rows(offsets, segments.rows, channels, [&](int64_t begin, int64_t end) {
    const int32_t last = offsets[end];
    for (int64_t v = begin; v < end; ++v) {
      scalar_t* best = out + v * channels;
      int32_t* best_point = argmax + v * channels;
      if (offsets[v] == offsets[v + 1]) {
        std::fill_n(best, channels, scalar_t(0));
        std::fill_n(best_point, channels, -1);
        continue;
      }
      const int32_t first = segments.columns[offsets[v]];
      std::copy_n(src + first * channels, channels, best);
      std::fill_n(best_point, channels, first);
      for (int32_t e = offsets[v] + 1; e < offsets[v + 1]; ++e) {
        if (e + kPrefetchDistance < last) {
          prefetch_row(src + segments.columns[e + kPrefetchDistance] * channels, channels);
        }
        const int32_t point = segments.columns[e];
        max_into(src + point * channels, point, channels, best, best_point);
      }
    }
  });
}

template <typename scalar_t>
void segment_max_backward(const scalar_t* grad_out, const int32_t* argmax, const int32_t* inverse,
                          int64_t num_points, int64_t num_segments, int64_t channels,
                          scalar_t* grad_src) {
  for_each_point(inverse, num_points, num_segments, channels, grad_src,
                 [&](int64_t i, int64_t segment) {
                   const scalar_t* grad = grad_out + segment * channels;
                   const int32_t* winner = argmax + segment * channels;
                   scalar_t* row = grad_src + i * channels;
                   for (int64_t c = 0; c < channels; ++c) {
                     row[c] = winner[c] == i ? grad[c] : scalar_t(0);
                   }
                 });
}

template <typename scalar_t>
void segment_mean_backward(const scalar_t* grad_out, const int32_t* inverse, const int32_t* offsets,
                           int64_t num_points, int64_t num_segments, int64_t channels,
                           scalar_t* grad_src) {
  for_each_point(
      inverse, num_points, num_segments, channels, grad_src, [&](int64_t i, int64_t segment) {
        const scalar_t* grad = grad_out + segment * channels;
        const auto count = static_cast<scalar_t>(offsets[segment + 1] - offsets[segment]);
        scalar_t* row = grad_src + i * channels;
        for (int64_t c = 0; c < channels; ++c) row[c] = grad[c] / count;
      });
}

#define INSTANTIATE(T)                                                                      \
  template void segment_max<T>(const T*, int64_t, const Csr&, T*, int32_t*);                \
  template void segment_max_backward<T>(const T*, const int32_t*, const int32_t*, int64_t,  \
                                        int64_t, int64_t, T*);                              \
  template void segment_mean_backward<T>(const T*, const int32_t*, const int32_t*, int64_t, \
                                         int64_t, int64_t, T*);
INSTANTIATE(float)
INSTANTIATE(double)

}  // namespace elite_ops::cpu
