// The first stage of the weight gradient without tensor cores: any type, any number of channels.
#pragma once

#include "launch.cuh"
#include "sparse_conv_weight.cuh"

namespace elite_ops::cuda {
namespace general {

constexpr int kWeightTile = 64;
constexpr int kPairDepth = 16;  // pairs in shared memory at a time
constexpr int kWeightThreads = 256;
constexpr int kWeightMicro = 4;  // a thread owns 4 x 4 sums
constexpr int kWeightLane = kWeightTile / kWeightMicro;

template <typename T>
__global__ void __launch_bounds__(kWeightThreads) weight_kernel(const WeightArguments<T> args) {
  using Sum = accumulate_t<T>;
  __shared__ int2 pairs[kListedPairs + kPairDepth];
  __shared__ Sum a[kPairDepth][kWeightTile];
  __shared__ Sum b[kPairDepth][kWeightTile];
  const SparseConvShape& shape = args.shape;
  const WeightBlock block = weight_block(args);
  const Share& share = block.share;
  if (share.offset < 0) return;
  const Segments segments(args.lists, share.offset);
  const int thread = static_cast<int>(threadIdx.x);
  const int row = thread / kWeightLane, column = thread % kWeightLane;
  Sum sums[kWeightMicro][kWeightMicro] = {};

  for (int32_t begin = share.begin; begin < share.end; begin += kListedPairs) {
    const int32_t end = begin + kListedPairs < share.end ? begin + kListedPairs : share.end;
    list_share<kWeightThreads, kPairDepth>(args.lists, segments, share.offset, begin, end, pairs);
    for (int first = 0; first < end - begin; first += kPairDepth) {
      for (int e = thread; e < kWeightTile * kPairDepth; e += kWeightThreads) {
        const int depth = e / kWeightTile, channel = e % kWeightTile;
        const int64_t c_in = block.first_row + channel, c_out = block.first_column + channel;
        const int2 pair = pairs[first + depth];
        a[depth][channel] = pair.x >= 0 && c_in < shape.c_in
                                ? static_cast<Sum>(args.features[pair.x * shape.c_in + c_in])
                                : Sum(0);
        b[depth][channel] = pair.x >= 0 && c_out < shape.c_out
                                ? static_cast<Sum>(args.grad_out[pair.y * shape.c_out + c_out])
                                : Sum(0);
      }
      __syncthreads();
#pragma unroll
      for (int d = 0; d < kPairDepth; ++d) {
        Sum a_part[kWeightMicro], b_part[kWeightMicro];
#pragma unroll
        for (int m = 0; m < kWeightMicro; ++m) {
          a_part[m] = a[d][row * kWeightMicro + m];
          b_part[m] = b[d][column + m * kWeightLane];
        }
#pragma unroll
        for (int m = 0; m < kWeightMicro; ++m) {
#pragma unroll
          for (int n = 0; n < kWeightMicro; ++n) sums[m][n] += a_part[m] * b_part[n];
        }
      }
      __syncthreads();
    }
  }

#pragma unroll
  for (int m = 0; m < kWeightMicro; ++m) {
    const int64_t c_in = block.first_row + row * kWeightMicro + m;
    if (c_in >= shape.c_in) continue;
#pragma unroll
    for (int n = 0; n < kWeightMicro; ++n) {
      const int64_t c_out = block.first_column + column + n * kWeightLane;
      if (c_out < shape.c_out) sums_of(args, block)[c_in * shape.c_out + c_out] = sums[m][n];
    }
  }
}

template <typename T>
cudaError_t weight_partials(const WeightArguments<T>& args, int64_t blocks, cudaStream_t stream) {
  const cudaLaunchConfig_t config = launch_config(blocks, kWeightThreads, stream);
  return cudaLaunchKernelEx(&config, weight_kernel<T>, args);
}

}  // namespace general
}  // namespace elite_ops::cuda
