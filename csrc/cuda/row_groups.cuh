// Threads over the rows of a matrix: groups of 1 to 32 neighbouring threads, each with a row of its
// own, whose lanes share out the channels.
#pragma once

#include <algorithm>
#include <bit>

#include "cuda/launch.cuh"

namespace elite_ops::cuda {

// The lanes of a group for rows of `items`: a power of two, so that no group crosses a warp.
inline int lanes_for(int64_t items) {
  constexpr int64_t kWarpSize = 32;
  return static_cast<int>(
      std::min<int64_t>(kWarpSize, std::bit_ceil(static_cast<uint64_t>(items))));
}

// One group per row. `rows` must be positive.
inline cudaLaunchConfig_t one_group_per(int64_t rows, int lanes, cudaStream_t stream) {
  const int64_t rows_per_block = kThreadsPerBlock / lanes;
  return launch_config((rows + rows_per_block - 1) / rows_per_block, kThreadsPerBlock, stream);
}

// Where this thread stands among groups of `lanes`.
struct RowGroup {
  int lane;
  int group;          // in the block
  int groups;         // of the block
  int64_t first_row;  // of the block
  __device__ __forceinline__ explicit RowGroup(int lanes)
      : lane(static_cast<int>(threadIdx.x) & (lanes - 1)),
        group(static_cast<int>(threadIdx.x) / lanes),
        groups(static_cast<int>(blockDim.x) / lanes),
        first_row(static_cast<int64_t>(blockIdx.x) * groups) {}
  __device__ __forceinline__ int64_t row() const { return first_row + group; }
};

}  // namespace elite_ops::cuda
