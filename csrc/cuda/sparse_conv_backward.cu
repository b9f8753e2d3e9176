// The weight gradient in two stages of fixed order: a sum for every split of the rows, kept in the
// workspace, then the sum over the splits. The splits depend on the sizes alone.
#include <algorithm>

#include "launch.cuh"
#include "sparse_conv.h"
#include "sparse_conv_rows.cuh"

namespace elite_ops::cuda {
namespace {

constexpr int kTile = 64;   // input channels, and output channels, of a block
constexpr int kDepth = 16;  // pairs in shared memory at a time
constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kMicro = 4;  // a thread owns 4 x 4 sums

constexpr int64_t kSplitRows = 2048;
constexpr int64_t kMaxWorkspaceBytes = 64 << 20;

struct Splits {
  int64_t rows;
  int64_t count;
};

template <typename T>
Splits splits_of(const SparseConvShape& shape) {
  const int64_t bytes = shape.num_offsets * shape.c_in * shape.c_out * sizeof(SparseConvSum<T>);
  const int64_t wanted = (shape.num_out + kSplitRows - 1) / kSplitRows;
  const int64_t affordable = std::max<int64_t>(1, kMaxWorkspaceBytes / std::max<int64_t>(bytes, 1));
  const int64_t count = std::max<int64_t>(1, std::min(wanted, affordable));
  return {(shape.num_out + count - 1) / count, count};
}

// The pairs of one offset among kThreads output rows, in the order of the rows.
struct Pairs {
  int32_t in[kThreads];
  int32_t out[kThreads];  // counted from the first of the rows
  int32_t counts[kWarps];
};

// Collects them; returns their number. Ends with a barrier; before the next call there must be one
// after the last use of `pairs`.
__device__ __forceinline__ int collect(Pairs& pairs, int32_t row) {
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  const unsigned valid = __ballot_sync(0xffffffffu, row >= 0);
  if (lane == 0) pairs.counts[warp] = __popc(valid);
  __syncthreads();
  int place = __popc(valid & ((1u << lane) - 1)), total = 0;
  for (int w = 0; w < kWarps; ++w) {
    if (w < warp) place += pairs.counts[w];
    total += pairs.counts[w];
  }
  if (row >= 0) {
    pairs.in[place] = row;
    pairs.out[place] = thread;
  }
  __syncthreads();
  return total;
}

// One block: kTile x kTile entries of the gradient of one offset, over one split of the rows.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    partial_kernel(const SparseConvShape shape, const T* __restrict__ features,
                   const T* __restrict__ grad_out, const int32_t* __restrict__ neighbors,
                   int64_t split_rows, int64_t row_tiles, int64_t column_tiles,
                   SparseConvSum<T>* __restrict__ partials, int32_t* error_flag) {
  using Sum = SparseConvSum<T>;
  __shared__ Pairs pairs;
  __shared__ Sum a[kDepth][kTile];
  __shared__ Sum b[kDepth][kTile];
  int64_t block = blockIdx.x;
  const int64_t first_column = block % column_tiles * kTile;
  block /= column_tiles;
  const int64_t first_row = block % row_tiles * kTile;
  block /= row_tiles;
  const int64_t k = block % shape.num_offsets, split = block / shape.num_offsets;
  const int64_t begin = split * split_rows;
  const int64_t left = shape.num_out - begin;
  const int64_t end = begin + (left < split_rows ? left : split_rows);
  const int thread = static_cast<int>(threadIdx.x);
  const int row = thread / (kTile / kMicro), column = thread % (kTile / kMicro);
  Sum sums[kMicro][kMicro] = {};

  for (int64_t i = begin; i < end; i += kThreads) {
    const bool is_mine = i + thread < end;
    const int count =
        collect(pairs, is_mine ? neighbor_row(shape, neighbors, k, i + thread, error_flag) : -1);
    for (int first = 0; first < count; first += kDepth) {
      for (int e = thread; e < kTile * kDepth; e += kThreads) {
        const int depth = e / kTile, pair = first + depth;
        const int64_t c_in = first_row + e % kTile, c_out = first_column + e % kTile;
        const bool exists = pair < count;
        a[depth][e % kTile] = exists && c_in < shape.c_in
                                  ? to_sum(features[pairs.in[pair] * shape.c_in + c_in])
                                  : Sum(0);
        b[depth][e % kTile] = exists && c_out < shape.c_out
                                  ? to_sum(grad_out[(i + pairs.out[pair]) * shape.c_out + c_out])
                                  : Sum(0);
      }
      __syncthreads();
#pragma unroll
      for (int d = 0; d < kDepth; ++d) {
        Sum a_part[kMicro], b_part[kMicro];
#pragma unroll
        for (int m = 0; m < kMicro; ++m) {
          a_part[m] = a[d][row * kMicro + m];
          b_part[m] = b[d][column + m * (kTile / kMicro)];
        }
#pragma unroll
        for (int m = 0; m < kMicro; ++m) {
#pragma unroll
          for (int n = 0; n < kMicro; ++n) sums[m][n] += a_part[m] * b_part[n];
        }
      }
      __syncthreads();
    }
  }

  Sum* to = partials + (split * shape.num_offsets + k) * shape.c_in * shape.c_out;
#pragma unroll
  for (int m = 0; m < kMicro; ++m) {
    const int64_t c_in = first_row + row * kMicro + m;
    if (c_in >= shape.c_in) continue;
#pragma unroll
    for (int n = 0; n < kMicro; ++n) {
      const int64_t c_out = first_column + column + n * (kTile / kMicro);
      if (c_out < shape.c_out) to[c_in * shape.c_out + c_out] = sums[m][n];
    }
  }
}

template <typename T>
__global__ void sum_kernel(const SparseConvSum<T>* __restrict__ partials, int64_t splits,
                           int64_t elements, T* __restrict__ grad_weight) {
  const int64_t i = global_thread();
  if (i >= elements) return;
  SparseConvSum<T> sum = 0;
  for (int64_t s = 0; s < splits; ++s) sum += partials[s * elements + i];
  grad_weight[i] = from_sum<T>(sum);
}

}  // namespace

template <typename T>
size_t sparse_conv_backward_weight_workspace_bytes(const SparseConvShape& shape) {
  return splits_of<T>(shape).count * shape.num_offsets * shape.c_in * shape.c_out *
         sizeof(SparseConvSum<T>);
}

template <typename T>
cudaError_t sparse_conv_backward_weight(const SparseConvShape& shape, const T* features,
                                        const T* grad_out, const int32_t* neighbors,
                                        void* workspace, T* grad_weight, int32_t* error_flag,
                                        cudaStream_t stream) {
  const int64_t elements = shape.num_offsets * shape.c_in * shape.c_out;
  if (elements == 0) return cudaSuccess;
  const Splits splits = splits_of<T>(shape);
  const int64_t row_tiles = (shape.c_in + kTile - 1) / kTile;
  const int64_t column_tiles = (shape.c_out + kTile - 1) / kTile;
  auto* partials = static_cast<SparseConvSum<T>*>(workspace);
  cudaLaunchConfig_t config =
      launch_config(splits.count * shape.num_offsets * row_tiles * column_tiles, kThreads, stream);
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&config, partial_kernel<T>, shape, features, grad_out,
                                    neighbors, splits.rows, row_tiles, column_tiles, partials,
                                    error_flag));
  config = one_thread_per(elements, stream);
  return cudaLaunchKernelEx(&config, sum_kernel<T>, partials, splits.count, elements, grad_weight);
}

#define INSTANTIATE(T)                                                                            \
  template size_t sparse_conv_backward_weight_workspace_bytes<T>(const SparseConvShape&);         \
  template cudaError_t sparse_conv_backward_weight<T>(const SparseConvShape&, const T*, const T*, \
                                                      const int32_t*, void*, T*, int32_t*,        \
                                                      cudaStream_t)
INSTANTIATE(float);
INSTANTIATE(double);
INSTANTIATE(__half);
INSTANTIATE(__nv_bfloat16);
#undef INSTANTIATE

}  // namespace elite_ops::cuda
