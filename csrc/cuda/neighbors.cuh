// The rows of every voxel's neighbours, from any index of the voxels' keys.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "common/kernel_geometry.h"
#include "common/voxel_set.h"
#include "cuda/launch.cuh"
#include "cuda/lower_bound.cuh"
#include "cuda/ranked_bitmap.cuh"

namespace elite_ops::cuda {

// An index of keys has a `Walk`: a thread's look-ups of ascending keys, find(key) being the key's
// row, or -1.

// Rows by rank in a bitmap, which several grids may share.
struct BitmapRows {
  RankedBitmap bitmap;
  int64_t first_word;   // of the grid
  const int32_t* rows;  // [V], by rank; null: rows are ranks

  // Loads a word and its rank once for all keys in it: once for the z offsets of a column, mostly.
  class Walk {
   public:
    __device__ explicit Walk(const BitmapRows& index)
        : index_(index), first_rank_(index.bitmap.ranks[index.first_word]) {}

    __device__ int32_t find(int64_t key) {
      const int64_t place = index_.first_word + key / 64;
      if (place != place_) {
        place_ = place;
        word_ = index_.bitmap.words[place];
        rank_ = index_.bitmap.ranks[place] - first_rank_;
      }
      const unsigned long long bit = RankedBitmap::bit(key);
      if ((word_ & bit) == 0) return -1;
      const auto rank = static_cast<int32_t>(rank_ + __popcll(word_ & (bit - 1)));
      return index_.rows == nullptr ? rank : index_.rows[rank];
    }

   private:
    const BitmapRows& index_;
    uint32_t first_rank_, rank_ = 0;
    int64_t place_ = -1;
    unsigned long long word_ = 0;
  };
};

// Rows beside sorted keys. Of equal keys the first one counts.
struct SortedRows {
  const uint64_t* keys;  // [num_keys]
  int64_t num_keys;
  const int32_t* rows;  // [num_keys]
  int32_t first_row;    // what is subtracted from `rows`

  class Walk {
   public:
    __device__ explicit Walk(const SortedRows& index) : index_(index) {}

    __device__ int32_t find(int64_t key) {
      const auto wanted = static_cast<uint64_t>(key);
      place_ = lower_bound(index_.keys, place_, index_.num_keys, wanted);
      const bool is_found = place_ < index_.num_keys && index_.keys[place_] == wanted;
      return is_found ? index_.rows[place_] - index_.first_row : -1;
    }

   private:
    const SortedRows& index_;
    int64_t place_ = 0;
  };
};

// Tables that one launch fills, each by as many blocks as its output voxels need.
template <typename Index>
struct NeighborTables {
  KernelGeometry kernel;
  bool is_symmetric;  // and the outputs are the inputs: the middle offset needs no look-up
  int count = 0;
  int64_t max_blocks = 0;
  VoxelSet outputs[kMaxScales];
  VoxelGrid input_grid[kMaxScales];
  int64_t num_inputs[kMaxScales];
  Index index[kMaxScales];       // of the input voxels
  int32_t* in_rows[kMaxScales];  // [K, V]

  NeighborTables(const KernelGeometry& geometry, bool of_same_voxels)
      : kernel(geometry), is_symmetric(of_same_voxels && geometry.is_symmetric()) {}

  void add(const VoxelSet& to, const VoxelGrid& from, int64_t inputs, const Index& in,
           int32_t* table) {
    outputs[count] = to;
    input_grid[count] = from;
    num_inputs[count] = inputs;
    index[count] = in;
    in_rows[count] = table;
    max_blocks += num_blocks(to.num_voxels);
    ++count;
  }

  static __host__ __device__ int64_t num_blocks(int64_t num_voxels) {
    return (num_voxels + kThreadsPerBlock - 1) / kThreadsPerBlock;
  }
};

// An output voxel's row numbers in one column of offsets: all that share x and y.
template <typename Index>
__device__ void find_column(const NeighborTables<Index>& tables, int t, int64_t i, int column) {
  const KernelGeometry& kernel = tables.kernel;
  const VoxelSet& outputs = tables.outputs[t];
  const VoxelGrid& grid = tables.input_grid[t];
  const int32_t* index = outputs.indices + i * 4;
  const int64_t x =
      kernel.first_input(0, index[1]) + int64_t{column / kernel.size[1]} * kernel.dilation[0];
  const int64_t y =
      kernel.first_input(1, index[2]) + int64_t{column % kernel.size[1]} * kernel.dilation[1];
  const bool in_grid =
      outputs.in_grid(i) && x >= 0 && x < grid.shape[0] && y >= 0 && y < grid.shape[1];
  const int64_t middle = tables.is_symmetric ? kernel.num_offsets() / 2 : -1;
  typename Index::Walk walk(tables.index[t]);
  for (int i_z = 0; i_z < kernel.size[2]; ++i_z) {
    const int64_t k = int64_t{column} * kernel.size[2] + i_z;
    const int64_t z = kernel.first_input(2, index[3]) + int64_t{i_z} * kernel.dilation[2];
    int32_t row = -1;
    if (in_grid && z >= 0 && z < grid.shape[2]) {
      row = k == middle ? static_cast<int32_t>(i) : walk.find(grid.key(index[0], x, y, z));
    }
    // A voxel that found no place in its buffer is nobody's neighbour.
    tables.in_rows[t][k * outputs.num_voxels + i] = row < tables.num_inputs[t] ? row : -1;
  }
}

// A thread takes an output voxel and, by blockIdx.y, a column of offsets. The blocks of each column
// share out the valid voxels: with one block for each part of a capacity, most would find nothing
// to do.
template <typename Index>
__global__ void __launch_bounds__(kThreadsPerBlock, 5)
    find_neighbors_kernel(const NeighborTables<Index> tables) {
  // There are fewer than 2^31 rows; 64 bits would cost registers, and with them threads.
  auto block = static_cast<int32_t>(blockIdx.x);
  for (int t = 0; t < tables.count; ++t) {
    const auto size = static_cast<int32_t>(tables.outputs[t].size());
    const auto blocks = static_cast<int32_t>(tables.num_blocks(size));
    for (; block < blocks; block += static_cast<int32_t>(gridDim.x)) {
      const auto i = block * kThreadsPerBlock + static_cast<int32_t>(threadIdx.x);
      if (i < size) find_column(tables, t, i, static_cast<int>(blockIdx.y));
    }
    block -= blocks;
  }
}

template <typename Index>
cudaError_t find_neighbors(const NeighborTables<Index>& tables, cudaStream_t stream) {
  // Times 9 columns of offsets: a few times what a large device runs at once.
  constexpr int64_t kMaxBlocks = 512;
  if (tables.max_blocks == 0) return cudaSuccess;
  const int64_t blocks = std::min(tables.max_blocks, kMaxBlocks);
  cudaLaunchConfig_t config = launch_config(blocks, kThreadsPerBlock, stream);
  config.gridDim.y = static_cast<unsigned>(tables.kernel.size[0] * tables.kernel.size[1]);
  return cudaLaunchKernelEx(&config, find_neighbors_kernel<Index>, tables);
}

}  // namespace elite_ops::cuda
