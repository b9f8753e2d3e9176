// The weight gradient: a block sums a tile of the gradient of one offset over its share of the
// pairs. This is what the two kernels that do so have in common.
#pragma once

#include "sparse_conv.h"
#include "sparse_conv_pairs.cuh"

namespace elite_ops::cuda {

template <typename T>
struct WeightArguments {
  SparseConvShape shape;
  const T* features;
  const T* grad_out;
  PairLists lists;
  int32_t tile;               // channels on either side of a block's tile
  int32_t wanted_shares;      // see find_share
  int2* shares;               // [num_offsets]: the first share, and how many
  accumulate_t<T>* partials;  // [shares, c_in, c_out]
};

struct WeightBlock {
  Share share;
  uint32_t number;       // of the share, and so of its sums
  int32_t first_row;     // the first input channel
  int32_t first_column;  // the first output channel
};

inline int64_t weight_tiles(const SparseConvShape& shape, int64_t tile) {
  return ((shape.c_in + tile - 1) / tile) * ((shape.c_out + tile - 1) / tile);
}

// What the calling block does. The first block of an offset says where its shares are.
template <typename T>
__device__ __forceinline__ WeightBlock weight_block(const WeightArguments<T>& args) {
  const auto columns = static_cast<uint32_t>((args.shape.c_out + args.tile - 1) / args.tile);
  const auto rows = static_cast<uint32_t>((args.shape.c_in + args.tile - 1) / args.tile);
  const uint32_t share = blockIdx.x / (rows * columns), tile = blockIdx.x % (rows * columns);
  WeightBlock block;
  block.share = find_share(args.lists, args.wanted_shares, static_cast<int32_t>(share));
  block.number = share;
  block.first_row = static_cast<int32_t>(tile / columns) * args.tile;
  block.first_column = static_cast<int32_t>(tile % columns) * args.tile;
  if (tile == 0 && threadIdx.x == 0 && block.share.offset >= 0 &&
      share == static_cast<uint32_t>(block.share.first_share)) {
    args.shares[block.share.offset] = make_int2(block.share.first_share, block.share.count);
  }
  return block;
}

// Where the sums of a block's share start.
template <typename T>
__device__ __forceinline__ accumulate_t<T>* sums_of(const WeightArguments<T>& args,
                                                    const WeightBlock& block) {
  return args.partials + block.number * args.shape.c_in * args.shape.c_out;
}

}  // namespace elite_ops::cuda
