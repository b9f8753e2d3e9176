#include "segment_reduce.h"

#include <algorithm>
#include <vector>

#include "parallel.h"
#include "prefetch.h"
#include "row_pieces.h"
#include "vectors.h"

namespace elite_ops::cpu {
namespace {

// Takes the values of a row that are beyond the best so far; `point_of(c)` has them.
template <bool largest, typename scalar_t, typename PointOf>
ELITE_ALWAYS_INLINE void take_extremes(const scalar_t* __restrict__ row, const PointOf& point_of,
                                       int64_t channels, scalar_t* __restrict__ best,
                                       int32_t* __restrict__ best_point) {
  for (int64_t c = 0; c < channels; ++c) {
    // Not whether the value is beyond the best one: a NaN wins, and the first one stays.
    const bool loses = largest ? row[c] <= best[c] : row[c] >= best[c];
    const bool wins = !loses && best[c] == best[c];
    best[c] = wins ? row[c] : best[c];
    best_point[c] = wins ? point_of(c) : best_point[c];
  }
}

// The extremes of the entries [begin, end), of which the thread goes on to `last`.
template <bool largest, typename scalar_t>
ELITE_ALWAYS_INLINE void extremes(const scalar_t* src, int64_t channels, const int32_t* points,
                                  int32_t begin, int32_t end, int32_t last, scalar_t* best,
                                  int32_t* best_point) {
  for (int32_t e = begin; e < end; ++e) {
    if (e + kPrefetchDistance < last) {
      prefetch_row(src + points[e + kPrefetchDistance] * channels, channels);
    }
    const scalar_t* row = src + points[e] * channels;
    if (e > begin) {
      const int32_t point = points[e];
      take_extremes<largest>(row, [=](int64_t) { return point; }, channels, best, best_point);
    } else {
      std::copy_n(row, channels, best);
      std::fill_n(best_point, channels, points[e]);
    }
  }
  if (begin == end) {
    std::fill_n(best, channels, scalar_t(0));
    std::fill_n(best_point, channels, -1);
  }
}

template <bool largest, typename scalar_t>
void segment_extreme(const scalar_t* src, int64_t channels, const Csr& segments, scalar_t* out,
                     int32_t* out_point) {
  const int32_t *offsets = segments.offsets, *points = segments.columns;
  const RowPieces pieces(offsets, segments.rows);
  std::vector<scalar_t> best(pieces.size() * channels);
  std::vector<int32_t> best_point(pieces.size() * channels);
  const auto of_rows = [&](int64_t begin, int64_t end) __attribute__((always_inline)) {
    for (int64_t v = begin; v < end; ++v) {
      extremes<largest>(src, channels, points, offsets[v], offsets[v + 1], offsets[end],
                        out + v * channels, out_point + v * channels);
    }
  };
  const auto of_pieces = [&](int64_t begin, int64_t end) __attribute__((always_inline)) {
    for (int64_t p = begin; p < end; ++p) {
      extremes<largest>(src, channels, points, pieces[p].begin, pieces[p].end, pieces[p].end,
                        best.data() + p * channels, best_point.data() + p * channels);
    }
  };
  pieces.parallel_for(
      channels, [&](int64_t begin, int64_t end) { run_vectorized(of_rows, begin, end); },
      [&](int64_t begin, int64_t end) { run_vectorized(of_pieces, begin, end); });
  pieces.for_each_row([&](int64_t begin, int64_t end) {
    const int64_t row = pieces[begin].row;
    std::copy_n(best.data() + begin * channels, channels, out + row * channels);
    std::copy_n(best_point.data() + begin * channels, channels, out_point + row * channels);
    for (int64_t p = begin + 1; p < end; ++p) {
      take_extremes<largest>(
          best.data() + p * channels, [&](int64_t c) { return best_point[p * channels + c]; },
          channels, out + row * channels, out_point + row * channels);
    }
  });
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
  segment_extreme<true>(src, channels, segments, out, argmax);
}

template <typename scalar_t>
void segment_min(const scalar_t* src, int64_t channels, const Csr& segments, scalar_t* out,
                 int32_t* argmin) {
  segment_extreme<false>(src, channels, segments, out, argmin);
}

template <typename scalar_t>
void segment_take(const scalar_t* src, const int32_t* argmax, int64_t num_points,
                  int64_t num_segments, int64_t channels, scalar_t* out) {
  parallel_for(0, num_segments, 256, [&](int64_t begin, int64_t end) {
    for (int64_t v = begin; v < end; ++v) {
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t point = argmax[v * channels + c];
        const bool is_there = point >= 0 && point < num_points;
        out[v * channels + c] = is_there ? src[point * channels + c] : scalar_t(0);
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
  template void segment_min<T>(const T*, int64_t, const Csr&, T*, int32_t*);                \
  template void segment_take<T>(const T*, const int32_t*, int64_t, int64_t, int64_t, T*);   \
  template void segment_max_backward<T>(const T*, const int32_t*, const int32_t*, int64_t,  \
                                        int64_t, int64_t, T*);                              \
  template void segment_mean_backward<T>(const T*, const int32_t*, const int32_t*, int64_t, \
                                         int64_t, int64_t, T*);
INSTANTIATE(float)
INSTANTIATE(double)

}  // namespace elite_ops::cpu
