#include "cuda/kernel_table.cuh"
#include "cuda/sparse_pool.h"

namespace elite_ops::cuda {
namespace {

// Row numbers of `width` channels, in loads of 16 bytes at most.
template <int width>
struct RowNumbers {
  static constexpr int kPart = width < 4 ? width : 4;
  using Part = Packed<int32_t, kPart>;
  int32_t values[width];

  __device__ __forceinline__ void load(const int32_t* from) {
    for (int p = 0; p < width; p += kPart) {
      const Part part = *reinterpret_cast<const Part*>(from + p);
      for (int i = 0; i < kPart; ++i) values[p + i] = part.values[i];
    }
  }
  __device__ __forceinline__ void store(int32_t* to) const {
    for (int p = 0; p < width; p += kPart) {
      Part part;
      for (int i = 0; i < kPart; ++i) part.values[i] = values[p + i];
      *reinterpret_cast<Part*>(to + p) = part;
    }
  }
};

bool is_aligned(const int32_t* rows) { return reinterpret_cast<uintptr_t>(rows) % 16 == 0; }

template <typename T>
struct Max {
  using Scalar = T;
  static constexpr int kColumns = 2;
  template <int width>
  struct State {
    accumulate_t<T> best[width];
    RowNumbers<width> rows;
  };

  const T* features;
  T* out;
  int32_t* argmax;

  template <int width>
  __device__ __forceinline__ void start(State<width>& state, int64_t /*channel*/) const {
    for (int i = 0; i < width; ++i) {
      state.best[i] = 0;
      state.rows.values[i] = -1;
    }
  }

  template <int width>
  __device__ __forceinline__ void add(State<width> (&states)[kColumns],
                                      const int32_t (&rows)[kColumns],
                                      const TablePlace& place) const {
    Packed<T, width> packs[kColumns];
    for (int r = 0; r < kColumns; ++r) packs[r] = load_pack<width>(features, rows[r], place);
    for (int r = 0; r < kColumns; ++r) {
      if (rows[r] < 0) continue;
      State<width>& state = states[r];
      for (int i = 0; i < width; ++i) {
        const auto value = static_cast<accumulate_t<T>>(packs[r].values[i]);
        const accumulate_t<T> best = state.best[i];
        // Not `value > best`: a NaN wins, and the first one stays.
        if (state.rows.values[i] < 0 || (!(value <= best) && best == best)) {
          state.best[i] = value;
          state.rows.values[i] = rows[r];
        }
      }
    }
  }

  template <int width>
  __device__ __forceinline__ void store(const State<width>& state, int64_t column,
                                        const TablePlace& place) const {
    store_pack(state.best, out + place.cell(column));
    state.rows.store(argmax + place.cell(column));
  }
};

template <typename T, int width>
struct SumState {
  accumulate_t<T> sums[width];
};

template <typename T>
struct MaxBackward {
  using Scalar = T;
  static constexpr int kColumns = 2;
  template <int width>
  using State = SumState<T, width>;

  const T* grad_out;
  const int32_t* argmax;
  T* grad_features;

  template <int width>
  __device__ __forceinline__ void start(SumState<T, width>& state, int64_t /*channel*/) const {
    for (int i = 0; i < width; ++i) state.sums[i] = 0;
  }

  template <int width>
  __device__ __forceinline__ void add(SumState<T, width> (&states)[kColumns],
                                      const int32_t (&rows)[kColumns],
                                      const TablePlace& place) const {
    Packed<T, width> packs[kColumns];
    RowNumbers<width> winners[kColumns];
    for (int r = 0; r < kColumns; ++r) {
      packs[r] = load_pack<width>(grad_out, rows[r], place);
      if (rows[r] >= 0) winners[r].load(argmax + place.cell(rows[r]));
    }
    for (int r = 0; r < kColumns; ++r) {
      if (rows[r] < 0) continue;
      for (int i = 0; i < width; ++i) {
        if (winners[r].values[i] != place.first + r) continue;
        states[r].sums[i] += static_cast<accumulate_t<T>>(packs[r].values[i]);
      }
    }
  }

  template <int width>
  __device__ __forceinline__ void store(const SumState<T, width>& state, int64_t column,
                                        const TablePlace& place) const {
    store_pack(state.sums, grad_features + place.cell(column));
  }
};

// The mean of what is met, or its gradient: the sum of what is met, each row by its own count.
template <typename T, bool backward>
struct Mean {
  using Scalar = T;
  static constexpr int kColumns = 4;
  template <int width>
  struct State {
    accumulate_t<T> sums[width];
    int32_t count;
  };

  const T* features;
  T* out;
  int32_t* written_counts;     // forward
  const int32_t* read_counts;  // backward

  template <int width>
  __device__ __forceinline__ void start(State<width>& state, int64_t /*channel*/) const {
    for (int i = 0; i < width; ++i) state.sums[i] = 0;
    state.count = 0;
  }

  template <int width>
  __device__ __forceinline__ void add(State<width> (&states)[kColumns],
                                      const int32_t (&rows)[kColumns],
                                      const TablePlace& place) const {
    Packed<T, width> packs[kColumns];
    int32_t counts[kColumns];
    for (int r = 0; r < kColumns; ++r) {
      packs[r] = load_pack<width>(features, rows[r], place);
      counts[r] = backward && rows[r] >= 0 ? read_counts[rows[r]] : 1;
    }
    for (int r = 0; r < kColumns; ++r) {
      if (rows[r] < 0) continue;
      ++states[r].count;
      const accumulate_t<T> factor =
          1 / static_cast<accumulate_t<T>>(counts[r] > 1 ? counts[r] : 1);
      for (int i = 0; i < width; ++i) {
        states[r].sums[i] += static_cast<accumulate_t<T>>(packs[r].values[i]) * factor;
      }
    }
  }

  template <int width>
  __device__ __forceinline__ void store(const State<width>& state, int64_t column,
                                        const TablePlace& place) const {
    const bool divides = !backward && state.count > 1;
    accumulate_t<T> means[width];
    for (int i = 0; i < width; ++i) {
      means[i] =
          divides ? state.sums[i] / static_cast<accumulate_t<T>>(state.count) : state.sums[i];
    }
    store_pack(means, out + place.cell(column));
    if (!backward && place.channel == 0) written_counts[column] = state.count;
  }
};

template <typename T>
__global__ void take_kernel(const T* __restrict__ features, const int32_t* __restrict__ argmax,
                            int64_t num_in, int64_t num_out, int64_t channels, int lanes,
                            T* __restrict__ out, int32_t* __restrict__ error_flag) {
  const RowGroup place(lanes);
  const int64_t row = place.row();
  if (row >= num_out) return;
  bool outside = false;
  for (int64_t c = place.lane; c < channels; c += lanes) {
    const int64_t from = argmax[row * channels + c];
    const bool is_row = from >= 0 && from < num_in;
    outside |= !is_row && from != -1;
    out[row * channels + c] = is_row ? features[from * channels + c] : static_cast<T>(0.f);
  }
  if (outside) atomicOr(error_flag, static_cast<int32_t>(kIndexOutOfRange));
}

}  // namespace

template <typename T>
cudaError_t sparse_max_pool(const KernelTable& in_rows, int64_t channels, const T* features, T* out,
                            int32_t* argmax, int32_t* error_flag, cudaStream_t stream) {
  const bool is_wide =
      fits_widest(features, channels) && fits_widest(out, channels) && is_aligned(argmax);
  return walk_table(in_rows, channels, is_wide, Max<T>{features, out, argmax}, error_flag, stream);
}

template <typename T>
cudaError_t sparse_max_pool_backward(const KernelTable& out_rows, int64_t channels,
                                     const T* grad_out, const int32_t* argmax, T* grad_features,
                                     int32_t* error_flag, cudaStream_t stream) {
  const bool is_wide =
      fits_widest(grad_out, channels) && fits_widest(grad_features, channels) && is_aligned(argmax);
  return walk_table(out_rows, channels, is_wide, MaxBackward<T>{grad_out, argmax, grad_features},
                    error_flag, stream);
}

template <typename T>
cudaError_t sparse_max_pool_take(int64_t num_in, int64_t num_out, int64_t channels,
                                 const T* features, const int32_t* argmax, T* out,
                                 int32_t* error_flag, cudaStream_t stream) {
  if (num_out == 0 || channels == 0) return cudaSuccess;
  const int lanes = lanes_for(channels);
  const cudaLaunchConfig_t config = one_group_per(num_out, lanes, stream);
  return cudaLaunchKernelEx(&config, take_kernel<T>, features, argmax, num_in, num_out, channels,
                            lanes, out, error_flag);
}

template <typename T>
cudaError_t sparse_avg_pool(const KernelTable& in_rows, int64_t channels, const T* features, T* out,
                            int32_t* counts, int32_t* error_flag, cudaStream_t stream) {
  if (channels == 0) {  // nobody counts
    return cudaMemsetAsync(counts, 0, in_rows.num_columns * sizeof(int32_t), stream);
  }
  const bool is_wide = fits_widest(features, channels) && fits_widest(out, channels);
  return walk_table(in_rows, channels, is_wide, Mean<T, false>{features, out, counts, nullptr},
                    error_flag, stream);
}

template <typename T>
cudaError_t sparse_avg_pool_backward(const KernelTable& out_rows, int64_t channels,
                                     const T* grad_out, const int32_t* counts, T* grad_features,
                                     int32_t* error_flag, cudaStream_t stream) {
  const bool is_wide = fits_widest(grad_out, channels) && fits_widest(grad_features, channels);
  return walk_table(out_rows, channels, is_wide,
                    Mean<T, true>{grad_out, grad_features, nullptr, counts}, error_flag, stream);
}

#define INSTANTIATE(T)                                                                          \
  template cudaError_t sparse_max_pool<T>(const KernelTable&, int64_t, const T*, T*, int32_t*,  \
                                          int32_t*, cudaStream_t);                              \
  template cudaError_t sparse_max_pool_backward<T>(const KernelTable&, int64_t, const T*,       \
                                                   const int32_t*, T*, int32_t*, cudaStream_t); \
  template cudaError_t sparse_max_pool_take<T>(int64_t, int64_t, int64_t, const T*,             \
                                               const int32_t*, T*, int32_t*, cudaStream_t);     \
  template cudaError_t sparse_avg_pool<T>(const KernelTable&, int64_t, const T*, T*, int32_t*,  \
                                          int32_t*, cudaStream_t);                              \
  template cudaError_t sparse_avg_pool_backward<T>(const KernelTable&, int64_t, const T*,       \
                                                   const int32_t*, T*, int32_t*, cudaStream_t);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(__half)
INSTANTIATE(__nv_bfloat16)

}  // namespace elite_ops::cuda
