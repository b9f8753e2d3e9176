#include "sparse_pool.h"

#include "meetings.h"

namespace elite_ops::cpu {
namespace {

// Registers in which channels are compared, at most: AVX-512 compares into masks, and GCC takes
// vectors of 64 bytes apart for them.
constexpr VectorBytes kWidestCompared = 32;

// A number of the size of T for each channel of a register: what comparing registers gives.
template <typename T>
using Integer = std::conditional_t<sizeof(T) == 8, int64_t, int32_t>;
template <typename T, int bytes>
using Integers = Vector<Integer<T>, bytes>;
// Row numbers in memory: as many int32 as there are channels in a register.
template <typename T, int bytes>
using Rows = Vector<int32_t, bytes / sizeof(T) * sizeof(int32_t)>;

// The parts of rows begin at their pointers (for_each_part of vectors.h).

template <int bytes, int vectors, typename T>
ELITE_ALWAYS_INLINE void max_of_part(const MeetingList& met, const T* features, int64_t channels,
                                     T* out, int32_t* argmax) {
  constexpr int64_t kWidth = bytes / sizeof(T);
  Vector<T, bytes> best[vectors] = {};
  Integers<T, bytes> best_row[vectors];
#pragma GCC unroll 4
  for (int v = 0; v < vectors; ++v) {
    best_row[v] = Integers<T, bytes>{} - 1;
    if (met.size > 0) {
      load(best[v], features + met.first->row * channels + v * kWidth);
      best_row[v] += met.first->row + 1;
    }
  }
  for (int64_t m = 1; m < met.size; ++m) {
    const int32_t row = met.first[m].row;
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      Vector<T, bytes> value;
      load(value, features + row * channels + v * kWidth);
      // Not `value > best`: a NaN wins, and the first one stays.
      const Integers<T, bytes> wins = ~(value <= best[v]) & (best[v] == best[v]);
      best[v] = wins ? value : best[v];
      best_row[v] = wins ? Integers<T, bytes>{} + row : best_row[v];
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < vectors; ++v) {
    store(best[v], out + v * kWidth);
    store(__builtin_convertvector(best_row[v], Rows<T, bytes>), argmax + v * kWidth);
  }
}

template <int bytes, int vectors, typename T>
ELITE_ALWAYS_INLINE void add_wins_of_part(const MeetingList& met, int64_t row, const T* grad_out,
                                          const int32_t* argmax, int64_t channels, T* sums) {
  constexpr int64_t kWidth = bytes / sizeof(T);
  Vector<T, bytes> sum[vectors] = {};
  for (const Meeting& m : met) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      Vector<T, bytes> grad;
      Rows<T, bytes> winner;
      load(grad, grad_out + m.row * channels + v * kWidth);
      load(winner, argmax + m.row * channels + v * kWidth);
      const Integers<T, bytes> wins =
          __builtin_convertvector(winner, Integers<T, bytes>) == static_cast<Integer<T>>(row);
      sum[v] += wins ? grad : Vector<T, bytes>{};
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < vectors; ++v) store(sum[v], sums + v * kWidth);
}

// The sum of what is met, each row times `factor(row)`, divided.
template <int bytes, int vectors, typename T, typename Factor>
ELITE_ALWAYS_INLINE void sum_of_part(const MeetingList& met, const T* features, int64_t channels,
                                     const Factor& factor, T divisor, T* out) {
  constexpr int64_t kWidth = bytes / sizeof(T);
  Vector<T, bytes> sum[vectors] = {};
  for (const Meeting& m : met) {
    const T times = factor(m.row);
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      Vector<T, bytes> value;
      load(value, features + m.row * channels + v * kWidth);
      sum[v] += value * times;
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < vectors; ++v) store(sum[v] / divisor, out + v * kWidth);
}

template <typename T>
T at_least_one(int64_t count) {
  return static_cast<T>(std::max<int64_t>(count, 1));
}

}  // namespace

template <typename T>
bool sparse_max_pool(const KernelTable& in_rows, int64_t channels, const T* features, T* out,
                     int32_t* argmax, VectorBytes width) {
  return for_each_column(
      in_rows, features, channels, std::min(width, kWidestCompared),
      [&](auto bytes, int64_t i, const MeetingList& met) __attribute__((always_inline)) {
        for_each_part<T, bytes>(
            0, channels, [&](auto b, auto vectors, int64_t c) __attribute__((always_inline)) {
              const int64_t cell = i * channels + c;
              max_of_part<b, vectors>(met, features + c, channels, out + cell, argmax + cell);
            });
      });
}

template <typename T>
bool sparse_max_pool_backward(const KernelTable& out_rows, int64_t channels, const T* grad_out,
                              const int32_t* argmax, T* grad_features, VectorBytes width) {
  return for_each_column(
      out_rows, grad_out, channels, std::min(width, kWidestCompared),
      [&](auto bytes, int64_t i, const MeetingList& met) __attribute__((always_inline)) {
        for_each_part<T, bytes>(
            0, channels, [&](auto b, auto vectors, int64_t c) __attribute__((always_inline)) {
              add_wins_of_part<b, vectors>(met, i, grad_out + c, argmax + c, channels,
                                           grad_features + i * channels + c);
            });
      });
}

template <typename T>
bool sparse_max_pool_take(int64_t num_in, int64_t num_out, int64_t channels, const T* features,
                          const int32_t* argmax, T* out) {
  std::atomic<bool> in_range{true};
  parallel_for(0, num_out, 256, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t cell = i * channels + c, row = argmax[cell];
        const bool is_row = row >= 0 && row < num_in;
        if (!is_row && row != -1) in_range = false;
        out[cell] = is_row ? features[row * channels + c] : T(0);
      }
    }
  });
  return in_range;
}

template <typename T>
bool sparse_avg_pool(const KernelTable& in_rows, int64_t channels, const T* features, T* out,
                     int32_t* counts, VectorBytes width) {
  return for_each_column(
      in_rows, features, channels, width,
      [&](auto bytes, int64_t i, const MeetingList& met) __attribute__((always_inline)) {
        counts[i] = static_cast<int32_t>(met.size);
        for_each_part<T, bytes>(
            0, channels, [&](auto b, auto vectors, int64_t c) __attribute__((always_inline)) {
              sum_of_part<b, vectors>(
                  met, features + c, channels, [](int32_t) { return T(1); },
                  at_least_one<T>(met.size), out + i * channels + c);
            });
      });
}

template <typename T>
bool sparse_avg_pool_backward(const KernelTable& out_rows, int64_t channels, const T* grad_out,
                              const int32_t* counts, T* grad_features, VectorBytes width) {
  const auto part = [&](int32_t row) { return T(1) / at_least_one<T>(counts[row]); };
  return for_each_column(
      out_rows, grad_out, channels, width,
      [&](auto bytes, int64_t i, const MeetingList& met) __attribute__((always_inline)) {
        for_each_part<T, bytes>(
            0, channels, [&](auto b, auto vectors, int64_t c) __attribute__((always_inline)) {
              sum_of_part<b, vectors>(met, grad_out + c, channels, part, T(1),
                                      grad_features + i * channels + c);
            });
      });
}

#define INSTANTIATE(T)                                                                             \
  template bool sparse_max_pool<T>(const KernelTable&, int64_t, const T*, T*, int32_t*,            \
                                   VectorBytes);                                                   \
  template bool sparse_max_pool_backward<T>(const KernelTable&, int64_t, const T*, const int32_t*, \
                                            T*, VectorBytes);                                      \
  template bool sparse_max_pool_take<T>(int64_t, int64_t, int64_t, const T*, const int32_t*, T*);  \
  template bool sparse_avg_pool<T>(const KernelTable&, int64_t, const T*, T*, int32_t*,            \
                                   VectorBytes);                                                   \
  template bool sparse_avg_pool_backward<T>(const KernelTable&, int64_t, const T*, const int32_t*, \
                                            T*, VectorBytes);
INSTANTIATE(float)
INSTANTIATE(double)

}  // namespace elite_ops::cpu
