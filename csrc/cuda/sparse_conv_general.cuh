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

// Explicit, because ptxas otherwise aims for more on sm_87, and spills.
template <typename T>
constexpr int kBlocksPerSm = sizeof(accumulate_t<T>) == 8 ? 2 : 3;

// One block: kTile output rows x kTile output channels, offset by offset.
template <typename T>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm<T>)
    forward_kernel(const SparseConvArguments<T> args, int64_t column_tiles) {
  using Sum = accumulate_t<T>;
  __shared__ int32_t rows[kTile];
  __shared__ Sum a[kDepth][kTile + 1];  // one spare column, against bank conflicts
  __shared__ Sum b[kDepth][kTile];
  const int64_t num_rows = valid_rows(args.num_rows, args.shape.num_out), c_out = args.shape.c_out;
  const int64_t first_row = blockIdx.x / column_tiles * kTile;
  const int64_t first_column = blockIdx.x % column_tiles * kTile;
  if (first_row >= num_rows) return;
  const int thread = static_cast<int>(threadIdx.x);
  const int row = thread / (kTile / kMicro), column = thread % (kTile / kMicro);
  TableColumn<T> table_column(args, num_rows, first_row + thread % kTile);
  bool outside = false;
  Sum sums[kMicro][kMicro] = {};

  for (int64_t k = 0; k < offsets_of(args); ++k) {
    bool is_needed = false;
    if (thread < kTile) {
      rows[thread] = table_column.next(args, outside);
      is_needed = rows[thread] >= 0;
    }
    if (!__syncthreads_or(is_needed)) continue;
    const Operand<T> from = operand(args, k);
    for (int64_t c = 0; c < from.channels; c += kDepth) {
      for (int i = thread; i < kTile * kDepth; i += kThreads) {
        const int64_t channel = c + i % kDepth;
        const int64_t from_row = rows[i / kDepth];
        const bool exists = from_row >= 0 && channel < from.channels;
        a[i % kDepth][i / kDepth] =
            exists ? static_cast<Sum>(from.features[from_row * from.channels + channel]) : Sum(0);
      }
      for (int i = thread; i < kTile * kDepth; i += kThreads) {
        const int64_t channel = c + i / kTile, to = first_column + i % kTile;
        const bool exists = channel < from.channels && to < c_out;
        b[i / kTile][i % kTile] =
            exists ? static_cast<Sum>(from.weight[channel * c_out + to]) : Sum(0);
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

  report_if(outside, args.error_flag);

#pragma unroll
  for (int i = 0; i < kMicro; ++i) {
    const int64_t place = first_row + row * kMicro + i, to = output_row(args, num_rows, place);
    if (to < 0) continue;
    OutputRow<T>(args, to, place)
        .template write<kMicro>(first_column + column, kTile / kMicro,
                                [&](int j) -> Sum& { return sums[i][j]; });
  }
}

template <typename T>
cudaError_t forward(const SparseConvArguments<T>& args, cudaStream_t stream) {
  const int64_t column_tiles = (args.shape.c_out + kTile - 1) / kTile;
  const int64_t row_tiles = (args.shape.num_out + kTile - 1) / kTile;
  const cudaLaunchConfig_t config = launch_config(row_tiles * column_tiles, kThreads, stream);
  return cudaLaunchKernelEx(&config, forward_kernel<T>, args, column_tiles);
}

}  // namespace general
}  // namespace elite_ops::cuda
