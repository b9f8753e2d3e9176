// The convolution without tensor cores: any type, any number of channels.
#pragma once

#include "launch.cuh"
#include "sparse_conv_rows.cuh"

namespace elite_ops::cuda {
namespace general {

constexpr int kTile = 64;   // output rows, and output channels, of a block
constexpr int kDepth = 16;  // input channels in shared memory at a time
constexpr int kThreads = 256;
constexpr int kMicro = 4;  // a thread owns 4 x 4 sums

// One block: kTile output rows x kTile output channels, offset by offset.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(const SparseConvShape shape, const T* __restrict__ features,
                   const T* __restrict__ weight, const int32_t* __restrict__ neighbors,
                   const int32_t* __restrict__ order,
                   const SparseConvEpilogue<T, accumulate_t<T>> epilogue, int64_t column_tiles,
                   T* __restrict__ out, int32_t* error_flag) {
  using Sum = accumulate_t<T>;
  __shared__ int32_t rows[kTile];
  __shared__ Sum a[kDepth][kTile + 1];  // one spare column, against bank conflicts
  __shared__ Sum b[kDepth][kTile];
  const int64_t first_row = blockIdx.x / column_tiles * kTile;
  const int64_t first_column = blockIdx.x % column_tiles * kTile;
  const int thread = static_cast<int>(threadIdx.x);
  const int row = thread / (kTile / kMicro), column = thread % (kTile / kMicro);
  Sum sums[kMicro][kMicro] = {};

  for (int64_t k = 0; k < shape.num_offsets; ++k) {
    bool is_needed = false;
    if (thread < kTile) {
      rows[thread] = neighbor_row(shape, neighbors, k, first_row + thread, error_flag);
      is_needed = rows[thread] >= 0;
    }
    if (!__syncthreads_or(is_needed)) continue;
    for (int64_t c = 0; c < shape.c_in; c += kDepth) {
      for (int i = thread; i < kTile * kDepth; i += kThreads) {
        const int64_t channel = c + i % kDepth;
        const int64_t from = rows[i / kDepth];
        const bool exists = from >= 0 && channel < shape.c_in;
        a[i % kDepth][i / kDepth] =
            exists ? static_cast<Sum>(features[from * shape.c_in + channel]) : Sum(0);
      }
      for (int i = thread; i < kTile * kDepth; i += kThreads) {
        const int64_t channel = c + i / kTile, to = first_column + i % kTile;
        const bool exists = channel < shape.c_in && to < shape.c_out;
        b[i / kTile][i % kTile] =
            exists ? static_cast<Sum>(weight[(k * shape.c_in + channel) * shape.c_out + to])
                   : Sum(0);
      }
      __syncthreads();
#pragma unroll
      for (int d = 0; d < kDepth; ++d) {
        Sum a_part[kMicro], b_part[kMicro];
#pragma unroll
        for (int i = 0; i < kMicro; ++i) {
          a_part[i] = a[d][row * kMicro + i];
          b_part[i] = b[d][column + i * (kTile / kMicro)];
        }
#pragma unroll
        for (int i = 0; i < kMicro; ++i) {
#pragma unroll
          for (int j = 0; j < kMicro; ++j) sums[i][j] += a_part[i] * b_part[j];
        }
      }
      __syncthreads();
    }
  }

#pragma unroll
  for (int i = 0; i < kMicro; ++i) {
    const int64_t to_row = output_row(shape, order, first_row + row * kMicro + i, error_flag);
    if (to_row < 0) continue;
#pragma unroll
    for (int j = 0; j < kMicro; ++j) {
      const int64_t to_column = first_column + column + j * (kTile / kMicro);
      if (to_column >= shape.c_out) continue;
      out[to_row * shape.c_out + to_column] =
          static_cast<T>(apply_epilogue<T>(shape, epilogue, to_row, to_column, sums[i][j]));
    }
  }
}

template <typename T>
cudaError_t forward(const SparseConvShape& shape, const T* features, const T* weight,
                    const int32_t* neighbors, const int32_t* order,
                    const SparseConvEpilogue<T, accumulate_t<T>>& epilogue, T* out,
                    int32_t* error_flag, cudaStream_t stream) {
  const int64_t column_tiles = (shape.c_out + kTile - 1) / kTile;
  const int64_t row_tiles = (shape.num_out + kTile - 1) / kTile;
  const cudaLaunchConfig_t config = launch_config(row_tiles * column_tiles, kThreads, stream);
  return cudaLaunchKernelEx(&config, forward_kernel<T>, shape, features, weight, neighbors, order,
                            epilogue, column_tiles, out, error_flag);
}

}  // namespace general
}  // namespace elite_ops::cuda
