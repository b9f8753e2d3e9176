#include "common/row_splits.h"
#include "cuda/kernel_table.cuh"
#include "cuda/sparse_depthwise_conv.h"
#include "cuda/sum_partials.cuh"

namespace elite_ops::cuda {
namespace {

constexpr int64_t kSplitRows = 2048;
constexpr int64_t kMaxPartialElements = 16 << 20;

// The weights of an offset are in registers, for several output rows.
template <typename T>
struct Convolution {
  using Scalar = T;
  static constexpr int kColumns = 4;
  template <int width>
  struct State {
    accumulate_t<T> sums[width];
  };

  const T* features;
  const T* weight;
  const T* bias;
  T* out;

  template <int width>
  __device__ __forceinline__ void start(State<width>& state, int64_t channel) const {
    for (int i = 0; i < width; ++i) {
      state.sums[i] = bias != nullptr ? static_cast<accumulate_t<T>>(bias[channel + i]) : 0;
    }
  }

  template <int width>
  __device__ __forceinline__ void add(State<width> (&states)[kColumns],
                                      const int32_t (&rows)[kColumns],
                                      const TablePlace& place) const {
    Packed<T, width> packs[kColumns];
    for (int r = 0; r < kColumns; ++r) packs[r] = load_pack<width>(features, rows[r], place);
    const auto factors = load_pack<width>(weight, place.offset, place);
    for (int r = 0; r < kColumns; ++r) {
      if (rows[r] < 0) continue;  // a weight that isn't finite must not meet the zeros
      for (int i = 0; i < width; ++i) {
        states[r].sums[i] += static_cast<accumulate_t<T>>(packs[r].values[i]) *
                             static_cast<accumulate_t<T>>(factors.values[i]);
      }
    }
  }

  template <int width>
  __device__ __forceinline__ void store(const State<width>& state, int64_t column,
                                        const TablePlace& place) const {
    store_pack(state.sums, out + place.cell(column));
  }
};

// One block: the sum of one offset over one split of the rows, for a tile of channels. The groups
// of the block take every so many rows, and the first group adds them up.
template <typename T, int width>
__global__ void __launch_bounds__(kThreadsPerBlock)
    weight_kernel(const KernelTable table, int64_t channels, int lanes, int64_t split_rows,
                  const T* __restrict__ features, const T* __restrict__ grad_out,
                  accumulate_t<T>* __restrict__ partials, int32_t* __restrict__ error_flag) {
  using Sum = accumulate_t<T>;
  __shared__ Sum sums[kThreadsPerBlock][width];
  const RowGroup group(lanes);
  const int64_t tile_channels = int64_t{lanes} * width;
  const int64_t tiles = (channels + tile_channels - 1) / tile_channels;
  const int64_t item = blockIdx.x / tiles;  // split * num_offsets + offset
  const int64_t k = item % table.num_offsets, begin = item / table.num_offsets * split_rows;
  const int64_t end = begin + split_rows < table.num_columns ? begin + split_rows  //
                                                             : table.num_columns;
  const TablePlace place{begin, blockIdx.x % tiles * tile_channels + group.lane * width, channels,
                         k};
  const bool has_channels = place.channel < channels;
  bool outside = false;
  Sum sum[width] = {};
#pragma unroll 4
  for (int64_t column = begin + group.group; column < end; column += group.groups) {
    int32_t rows[1] = {table.rows[k * table.num_columns + column]};
    if (!meets_rows(table, rows, outside) || !has_channels) continue;
    const auto a = load_pack<width>(features, rows[0], place);
    const auto b = load_pack<width>(grad_out, column, place);
    for (int i = 0; i < width; ++i) {
      sum[i] += static_cast<Sum>(a.values[i]) * static_cast<Sum>(b.values[i]);
    }
  }
  for (int i = 0; i < width; ++i) sums[threadIdx.x][i] = sum[i];
  __syncthreads();
  if (outside) atomicOr(error_flag, static_cast<int32_t>(kIndexOutOfRange));
  if (group.group != 0 || !has_channels) return;
  for (int g = 1; g < group.groups; ++g) {
    for (int i = 0; i < width; ++i) sum[i] += sums[g * lanes + group.lane][i];
  }
  for (int i = 0; i < width; ++i) partials[place.cell(item) + i] = sum[i];
}

RowSplits splits_of(const KernelTable& in_rows, int64_t channels) {
  return row_splits(in_rows.num_columns, kSplitRows, in_rows.num_offsets * channels,
                    kMaxPartialElements);
}

}  // namespace

template <typename T>
cudaError_t sparse_depthwise_conv(const KernelTable& in_rows, int64_t channels, const T* features,
                                  const T* weight, const T* bias, T* out, int32_t* error_flag,
                                  cudaStream_t stream) {
  const bool is_wide = fits_widest(features, channels) && fits_widest(weight, channels) &&
                       fits_widest(out, channels);
  return walk_table(in_rows, channels, is_wide, Convolution<T>{features, weight, bias, out},
                    error_flag, stream);
}

template <typename T>
size_t sparse_depthwise_conv_backward_weight_workspace_bytes(const KernelTable& in_rows,
                                                             int64_t channels) {
  return splits_of(in_rows, channels).count * in_rows.num_offsets * channels *
         sizeof(accumulate_t<T>);
}

template <typename T>
cudaError_t sparse_depthwise_conv_backward_weight(const KernelTable& in_rows, int64_t channels,
                                                  const T* features, const T* grad_out,
                                                  void* workspace, T* grad_weight,
                                                  int32_t* error_flag, cudaStream_t stream) {
  const int64_t elements = in_rows.num_offsets * channels;
  if (elements == 0) return cudaSuccess;
  const RowSplits splits = splits_of(in_rows, channels);
  auto* partials = static_cast<accumulate_t<T>*>(workspace);
  const bool is_wide = fits_widest(features, channels) && fits_widest(grad_out, channels);
  const int64_t width = is_wide ? kWidest<T> : 1;
  const int lanes = lanes_for(channels / width);
  const int64_t tiles = (channels + lanes * width - 1) / (lanes * width);
  const cudaLaunchConfig_t blocks =
      launch_config(splits.count * in_rows.num_offsets * tiles, kThreadsPerBlock, stream);
  ELITE_CUDA_TRY(cudaLaunchKernelEx(
      &blocks, is_wide ? weight_kernel<T, kWidest<T>> : weight_kernel<T, 1>, in_rows, channels,
      lanes, splits.rows, features, grad_out, partials, error_flag));
  return sum_partials<T>(partials, splits.count, elements, grad_weight, stream);
}

#define INSTANTIATE(T)                                                                           \
  template cudaError_t sparse_depthwise_conv<T>(const KernelTable&, int64_t, const T*, const T*, \
                                                const T*, T*, int32_t*, cudaStream_t);           \
  template size_t sparse_depthwise_conv_backward_weight_workspace_bytes<T>(const KernelTable&,   \
                                                                           int64_t);             \
  template cudaError_t sparse_depthwise_conv_backward_weight<T>(                                 \
      const KernelTable&, int64_t, const T*, const T*, void*, T*, int32_t*, cudaStream_t);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(__half)
INSTANTIATE(__nv_bfloat16)

}  // namespace elite_ops::cuda
