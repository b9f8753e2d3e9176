// The rows of every voxel's neighbours, from any index of the voxels' keys.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "common/kernel_shape.h"
#include "common/num_rows.h"
#include "common/voxel_grid.h"
#include "cuda/launch.cuh"
#include "cuda/lower_bound.cuh"
#include "cuda/ranked_bitmap.cuh"

namespace elite_ops::cuda {

// Voxels in a grid.
struct VoxelSet {
  const int32_t* indices;  // [num_voxels, 4]
  int64_t num_voxels;
  VoxelGrid grid;
  const int64_t* num_true = nullptr;  // how many of the rows are voxels, on the device; null: all

  __device__ int64_t size() const { return true_rows(num_true, num_voxels); }

  __device__ bool in_grid(int64_t i) const {
    const int32_t* index = indices + i * 4;
    return index[0] >= 0 && index[0] < grid.batch_size && index[1] >= 0 &&
           index[1] < grid.shape[0] && index[2] >= 0 && index[2] < grid.shape[1] && index[3] >= 0 &&
           index[3] < grid.shape[2];
  }
  __device__ int64_t key(int64_t i) const {
    const int32_t* index = indices + i * 4;
    return grid.key(index[0], index[1], index[2], index[3]);
  }
};

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

// Tables that one launch fills, each by as many blocks as its voxels need.
template <typename Index>
struct NeighborTables {
  KernelShape kernel;
  int count = 0;
  int64_t max_blocks = 0;
  VoxelSet voxels[kMaxScales];
  Index index[kMaxScales];
  int32_t* neighbors[kMaxScales];  // [K, V]

  void add(const VoxelSet& of, const Index& in, int32_t* to) {
    voxels[count] = of;
    index[count] = in;
    neighbors[count] = to;
    max_blocks += num_blocks(of.num_voxels);
    ++count;
  }

  static __host__ __device__ int64_t num_blocks(int64_t num_voxels) {
    return (num_voxels + kThreadsPerBlock - 1) / kThreadsPerBlock;
  }
};

// A voxel's row numbers in one column of offsets: all that share x and y.
template <typename Index>
__device__ void find_column(const NeighborTables<Index>& tables, int t, int64_t i, int column) {
  const KernelShape& kernel = tables.kernel;
  const VoxelSet& voxels = tables.voxels[t];
  const VoxelGrid& grid = voxels.grid;
  const int32_t* index = voxels.indices + i * 4;
  const int64_t x = index[1] + int64_t{column / kernel.size[1]} * kernel.dilation[0];
  const int64_t y = index[2] + int64_t{column % kernel.size[1]} * kernel.dilation[1];
  const int64_t cell_x = x - kernel.reach(0), cell_y = y - kernel.reach(1);
  const bool in_grid = voxels.in_grid(i) && cell_x >= 0 && cell_x < grid.shape[0] && cell_y >= 0 &&
                       cell_y < grid.shape[1];
  const int64_t middle = kernel.num_offsets() / 2;
  typename Index::Walk walk(tables.index[t]);
  for (int i_z = 0; i_z < kernel.size[2]; ++i_z) {
    const int64_t k = int64_t{column} * kernel.size[2] + i_z;
    const int64_t z = index[3] + int64_t{i_z} * kernel.dilation[2] - kernel.reach(2);
    int32_t row = -1;
    if (in_grid && z >= 0 && z < grid.shape[2]) {
      row =
          k == middle ? static_cast<int32_t>(i) : walk.find(grid.key(index[0], cell_x, cell_y, z));
    }
    // A voxel that found no place in its buffer is nobody's neighbour.
    tables.neighbors[t][k * voxels.num_voxels + i] = row < voxels.num_voxels ? row : -1;
  }
}

// A thread takes a voxel and, by blockIdx.y, a column of offsets. The blocks of each column share
// out the true voxels: with one block for each part of a capacity, most would find nothing to do.
template <typename Index>
__global__ void __launch_bounds__(kThreadsPerBlock, 5)
    find_neighbors_kernel(const NeighborTables<Index> tables) {
  // There are fewer than 2^31 rows; 64 bits would cost registers, and with them threads.
  auto block = static_cast<int32_t>(blockIdx.x);
  for (int t = 0; t < tables.count; ++t) {
    const auto size = static_cast<int32_t>(tables.voxels[t].size());
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
