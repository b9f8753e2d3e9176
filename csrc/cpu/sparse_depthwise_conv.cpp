#include "sparse_depthwise_conv.h"

#include "common/row_splits.h"
#include "meetings.h"

namespace elite_ops::cpu {
namespace {

constexpr int64_t kSplitRows = 2048;
constexpr int64_t kMaxPartialElements = 16 * 1024 * 1024;  // of all partial sums together

// A part of the channels of one output row: pointers begin at its first channel.
template <int bytes, int vectors, typename T>
ELITE_ALWAYS_INLINE void convolve_part(const MeetingList& met, const T* features, const T* weight,
                                       const T* bias, int64_t channels, T* out) {
  constexpr int64_t kWidth = bytes / sizeof(T);
  Vector<T, bytes> sum[vectors] = {};
  if (bias != nullptr) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) load(sum[v], bias + v * kWidth);
  }
  for (const Meeting& m : met) {
    const T *row = features + m.row * channels, *factor = weight + m.offset * channels;
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      Vector<T, bytes> a, b;
      load(a, row + v * kWidth);
      load(b, factor + v * kWidth);
      sum[v] += a * b;
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < vectors; ++v) store(sum[v], out + v * kWidth);
}

// The same part of what one output row adds to the gradients of the weights that it meets.
template <int bytes, int vectors, typename T>
ELITE_ALWAYS_INLINE void add_products_of_part(const MeetingList& met, const T* features,
                                              const T* grad_out, int64_t channels, T* partial) {
  constexpr int64_t kWidth = bytes / sizeof(T);
  Vector<T, bytes> grad[vectors];
#pragma GCC unroll 4
  for (int v = 0; v < vectors; ++v) load(grad[v], grad_out + v * kWidth);
  for (const Meeting& m : met) {
    const T* row = features + m.row * channels;
    T* sums = partial + m.offset * channels;
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      Vector<T, bytes> a, sum;
      load(a, row + v * kWidth);
      load(sum, sums + v * kWidth);
      store(sum + a * grad[v], sums + v * kWidth);
    }
  }
}

// partials [splits, elements] -> sums [elements]
template <typename T>
void sum_splits(const T* partials, int64_t splits, int64_t elements, T* sums) {
  parallel_for(0, elements, 256, [&](int64_t begin, int64_t end) {
    std::copy(partials + begin, partials + end, sums + begin);
    for (int64_t s = 1; s < splits; ++s) {
      const T* from = partials + s * elements;
      for (int64_t i = begin; i < end; ++i) sums[i] += from[i];
    }
  });
}

}  // namespace

template <typename T>
bool sparse_depthwise_conv(const KernelTable& in_rows, int64_t channels, const T* features,
                           const T* weight, const T* bias, T* out, VectorBytes width) {
  return for_each_column(
      in_rows, features, channels, width,
      [&](auto bytes, int64_t i, const MeetingList& met) __attribute__((always_inline)) {
        for_each_part<T, bytes>(
            0, channels, [&](auto b, auto vectors, int64_t c) __attribute__((always_inline)) {
              convolve_part<b, vectors>(met, features + c, weight + c,
                                        bias == nullptr ? nullptr : bias + c, channels,
                                        out + i * channels + c);
            });
      });
}

template <typename T>
bool sparse_depthwise_conv_backward_weight(const KernelTable& in_rows, int64_t channels,
                                           const T* features, const T* grad_out, T* grad_weight,
                                           VectorBytes width) {
  const int64_t elements = in_rows.num_offsets * channels;
  const RowSplits splits =
      row_splits(in_rows.num_columns, kSplitRows, elements, kMaxPartialElements);
  AlignedBuffer<T> partials(splits.count * elements);
  std::atomic<bool> in_range{true};
  parallel_for(0, splits.count, 1, [&](int64_t begin, int64_t end) {
    Meetings<T> meetings(in_rows, features, channels);
    with_vectors(width, [&](auto bytes) __attribute__((always_inline)) {
      for (int64_t s = begin; s < end; ++s) {
        T* partial = partials.data() + s * elements;
        std::fill_n(partial, elements, T(0));
        meetings.for_each(
            s * splits.rows, std::min((s + 1) * splits.rows, in_rows.num_columns),
            [&](int64_t i, const MeetingList& met) __attribute__((always_inline)) {
              for_each_part<T, bytes>(
                  0, channels, [&](auto b, auto vectors, int64_t c) __attribute__((always_inline)) {
                    add_products_of_part<b, vectors>(met, features + c, grad_out + i * channels + c,
                                                     channels, partial + c);
                  });
            });
      }
    });
    if (!meetings.in_range()) in_range = false;
  });
  sum_splits(partials.data(), splits.count, elements, grad_weight);
  return in_range;
}

#define INSTANTIATE(T)                                                                          \
  template bool sparse_depthwise_conv<T>(const KernelTable&, int64_t, const T*, const T*,       \
                                         const T*, T*, VectorBytes);                            \
  template bool sparse_depthwise_conv_backward_weight<T>(const KernelTable&, int64_t, const T*, \
                                                         const T*, T*, VectorBytes);
INSTANTIATE(float)
INSTANTIATE(double)

}  // namespace elite_ops::cpu
