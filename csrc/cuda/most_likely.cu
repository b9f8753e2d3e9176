// A thread has a row. The student's, 20 of 24 numbers of 2 bytes, are 48 bytes each: the threads of
// a warp read neighbouring rows, whole lines. For 124,668 points 5 MB are read and 1 MB is written,
// 1.5 us at 4 TB/s.
#include <cmath>

#include "cuda/accumulate.cuh"
#include "cuda/launch.cuh"
#include "cuda/most_likely.h"
#include "cuda/packed.cuh"

namespace elite_ops::cuda {
namespace {

constexpr int kLoadsAtOnce = 5;  // 40 bytes, the student's classes, are as many loads of 8

// The largest of the numbers that it is shown, in order, as torch.argmax has it: NaN is larger than
// any other, and of equals the first wins.
template <typename number_t>
struct Largest {
  number_t value;
  int32_t column;
  __device__ __forceinline__ void show(number_t other, int32_t at, bool counts) {
    const bool wins = counts & !(other <= value) & (value == value);
    value = wins ? other : value;
    column = wins ? at : column;
  }
};

template <typename scalar_t, int width>
__global__ void most_likely_kernel(LogitRows<scalar_t> in, int64_t* __restrict__ out) {
  using Pack = Packed<scalar_t, width>;
  const int64_t row = global_thread();
  if (row >= in.rows) return;
  const scalar_t* __restrict__ logits = in.logits + row * in.stride;
  const bool has_label = in.has_label(row);
  Largest<accumulate_t<scalar_t>> largest{-INFINITY, in.ignored == 0 ? 1 : 0};
  const auto show = [&](scalar_t value, int32_t column) {
    largest.show(static_cast<accumulate_t<scalar_t>>(value), column, column != in.ignored);
  };
  const int32_t packs = in.columns / width;
  for (int32_t first = 0; first < packs; first += kLoadsAtOnce) {
    Pack pack[kLoadsAtOnce];
#pragma unroll
    for (int k = 0; k < kLoadsAtOnce; ++k) {
      if (first + k < packs) pack[k] = reinterpret_cast<const Pack*>(logits)[first + k];
    }
#pragma unroll
    for (int k = 0; k < kLoadsAtOnce; ++k) {
      if (first + k >= packs) break;
#pragma unroll
      for (int i = 0; i < width; ++i) show(pack[k].values[i], (first + k) * width + i);
    }
  }
#pragma unroll 1
  for (int32_t c = packs * width; c < in.columns; ++c) show(logits[c], c);
  out[row] = has_label ? largest.column : 0;
}

template <typename scalar_t, int width>
bool is_aligned(const LogitRows<scalar_t>& in) {
  constexpr int64_t kBytes = sizeof(Packed<scalar_t, width>);
  return reinterpret_cast<uintptr_t>(in.logits) % kBytes == 0 && in.stride % width == 0;
}

// How many loads a row takes.
int32_t num_loads(int32_t columns, int32_t width) { return columns / width + columns % width; }

// Loads of 16 bytes, of 8 or of a scalar: the widest that are aligned, or fewer.
template <typename scalar_t, int width>
cudaError_t launch(const LogitRows<scalar_t>& in, int64_t* out, cudaStream_t stream) {
  if constexpr (width > 1) {
    constexpr int kNarrower = width / 2 * sizeof(scalar_t) < 8 ? 1 : width / 2;
    if (!is_aligned<scalar_t, width>(in) ||
        num_loads(in.columns, kNarrower) < num_loads(in.columns, width)) {
      return launch<scalar_t, kNarrower>(in, out, stream);
    }
  }
  const cudaLaunchConfig_t config = one_thread_per(in.rows, stream);
  return cudaLaunchKernelEx(&config, most_likely_kernel<scalar_t, width>, in, out);
}

}  // namespace

template <typename scalar_t>
cudaError_t most_likely(const LogitRows<scalar_t>& in, int64_t* out, cudaStream_t stream) {
  if (in.rows == 0) return cudaSuccess;
  return launch<scalar_t, kWidest<scalar_t>>(in, out, stream);
}

#define INSTANTIATE(T) \
  template cudaError_t most_likely<T>(const LogitRows<T>&, int64_t*, cudaStream_t);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(__half)
INSTANTIATE(__nv_bfloat16)

}  // namespace elite_ops::cuda
