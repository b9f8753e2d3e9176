// The first stage of the weight gradient: what its kernels share. A block sums a kWeightTile x
// kWeightTile part of the gradient of one offset over one split of the output rows.
#pragma once

#include "sparse_conv_rows.cuh"

namespace elite_ops::cuda {

constexpr int kWeightTile = 64;

template <typename T>
struct WeightArguments {
  SparseConvShape shape;
  const T* features;
  const T* grad_out;
  const int32_t* neighbors;
  int64_t split_rows;
  int64_t row_tiles;          // kWeightTile input channels each
  int64_t column_tiles;       // kWeightTile output channels each
  accumulate_t<T>* partials;  // [splits, num_offsets, c_in, c_out]
  int32_t* error_flag;
};

struct WeightBlock {
  int64_t k;             // the offset
  int64_t begin, end;    // the output rows of the split
  int64_t first_row;     // the first input channel
  int64_t first_column;  // the first output channel
  int64_t partial;       // where the matrix [c_in, c_out] of split and offset starts
};

template <typename T>
__device__ __forceinline__ WeightBlock weight_block(const WeightArguments<T>& args) {
  const SparseConvShape& shape = args.shape;
  const int64_t tile = blockIdx.x % (args.row_tiles * args.column_tiles);
  const int64_t matrix = blockIdx.x / (args.row_tiles * args.column_tiles);
  WeightBlock block;
  block.k = matrix % shape.num_offsets;
  block.begin = matrix / shape.num_offsets * args.split_rows;
  const int64_t end = block.begin + args.split_rows;
  block.end = end < shape.num_out ? end : shape.num_out;
  block.first_row = tile / args.column_tiles * kWeightTile;
  block.first_column = tile % args.column_tiles * kWeightTile;
  block.partial = matrix * shape.c_in * shape.c_out;
  return block;
}

// The pairs of one offset among up to kCapacity output rows, in the order of the rows.
template <int kThreads, int kCapacity>
struct Pairs {
  int32_t in[kCapacity];
  int32_t out[kCapacity];  // counted from the first of the rows
  int32_t counts[kThreads / 32];

  // Replaces the list by the pairs of the rows [first, first + kCapacity) below block.end; returns
  // their number. Ends with a barrier; a barrier must precede it after the last use of the list.
  template <typename T>
  __device__ __forceinline__ int collect(const WeightArguments<T>& args, const WeightBlock& block,
                                         int64_t first) {
    const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
    int total = 0;
    for (int base = 0; base < kCapacity && first + base < block.end; base += kThreads) {
      const int64_t i = first + base + thread;
      const int32_t row =
          i < block.end ? neighbor_row(args.shape, args.neighbors, block.k, i, args.error_flag)
                        : -1;
      const unsigned valid = __ballot_sync(0xffffffffu, row >= 0);
      if (lane == 0) counts[warp] = __popc(valid);
      __syncthreads();
      int place = total + __popc(valid & ((1u << lane) - 1));
      for (int w = 0; w < kThreads / 32; ++w) {
        if (w < warp) place += counts[w];
        total += counts[w];
      }
      if (row >= 0) {
        in[place] = row;
        out[place] = base + thread;
      }
      __syncthreads();
    }
    return total;
  }
};

}  // namespace elite_ops::cuda
