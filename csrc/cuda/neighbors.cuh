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

// An index of keys has a `Walk`: a thread's look-ups, column by column. go_to() names the key of
// the first cell of the column that follows; find(z) is the row of its cell there, or -1, for
// ascending z.

// Rows by rank in a bitmap, which several grids may share.
struct BitmapRows {
  RankedBitmap bitmap;
  int64_t first_word;   // of the grid
  const int32_t* rows;  // [V], by rank; null: rows are ranks

  // Loads a word and its rank once for all z in it.
  class Walk {
   public:
    __device__ explicit Walk(const BitmapRows& index)
        : words_(index.bitmap.words + index.first_word),
          ranks_(index.bitmap.ranks + index.first_word),
          rows_(index.rows),
          first_rank_(*ranks_ + 1) {}

    __device__ void go_to(int64_t key) { column_ = static_cast<int32_t>(key >> 6); }

    __device__ int32_t find(int32_t z) {
      const int32_t place = column_ + (z >> 6);
      if (place != place_) {
        place_ = place;
        word_ = words_[place];
        rank_ = ranks_[place] - first_rank_;
      }
      // The cell's bit becomes the sign, and those of the cells after it are gone.
      const auto up_to = static_cast<long long>(word_ << (~z & 63));
      if (up_to >= 0) return -1;
      const auto rank = static_cast<int32_t>(rank_ + __popcll(up_to));
      return rows_ == nullptr ? rank : rows_[rank];
    }

   private:
    const unsigned long long* words_;
    const uint32_t* ranks_;
    const int32_t* rows_;
    uint32_t first_rank_, rank_ = 0;
    int32_t column_ = 0, place_ = -1;  // a bitmap has fewer than 2^31 words
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

    // Later columns have larger keys.
    __device__ void go_to(int64_t key) { column_ = static_cast<uint64_t>(key); }

    __device__ int32_t find(int32_t z) {
      const uint64_t wanted = column_ + static_cast<uint32_t>(z);
      place_ = lower_bound(index_.keys, place_, index_.num_keys, wanted);
      const bool is_found = place_ < index_.num_keys && index_.keys[place_] == wanted;
      return is_found ? index_.rows[place_] - index_.first_row : -1;
    }

   private:
    const SortedRows& index_;
    int64_t place_ = 0;
    uint64_t column_ = 0;
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

// An output voxel's row numbers under the offsets that share `i_x`.
template <typename Index>
__device__ void find_slab(const NeighborTables<Index>& tables, int t, int32_t i, int i_x) {
  const KernelGeometry& kernel = tables.kernel;
  const VoxelSet& outputs = tables.outputs[t];
  const VoxelGrid& grid = tables.input_grid[t];
  const int32_t* index = outputs.indices + int64_t{i} * 4;
  const int64_t x = kernel.first_input(0, index[1]) + int64_t{i_x} * kernel.dilation[0];
  const int64_t first_z = kernel.first_input(2, index[3]);
  int64_t y = kernel.first_input(1, index[2]);
  int64_t column = grid.key(index[0], x, y, 0);
  const int64_t next_column = grid.words_per_column() * 64 * kernel.dilation[1];
  const bool in_grid = outputs.in_grid(i) && x >= 0 && x < grid.shape[0];
  const int32_t shape_y = grid.shape[1], shape_z = grid.shape[2], step = kernel.dilation[2];
  const int size_y = kernel.size[1], size_z = kernel.size[2];
  const auto num_inputs = static_cast<int32_t>(tables.num_inputs[t]);
  const int64_t num_outputs = outputs.num_voxels, k = int64_t{i_x} * size_y * size_z;
  int32_t* out = tables.in_rows[t] + k * num_outputs + i;
  // How many offsets are left up to the middle one.
  int64_t to_middle = tables.is_symmetric ? kernel.num_offsets() / 2 - k : -1;
  typename Index::Walk walk(tables.index[t]);
#pragma unroll 1
  for (int i_y = 0; i_y < size_y; ++i_y) {
    const bool has_column = in_grid && y >= 0 && y < shape_y;
    walk.go_to(column);
    int64_t z = first_z;
#pragma unroll 1
    for (int i_z = 0; i_z < size_z; ++i_z) {
      int32_t row = -1;
      if (has_column && z >= 0 && z < shape_z) {
        row = to_middle == 0 ? i : walk.find(static_cast<int32_t>(z));
      }
      // A voxel that found no place in its buffer is nobody's neighbour.
      *out = row < num_inputs ? row : -1;
      out += num_outputs;
      z += step;
      --to_middle;
    }
    y += kernel.dilation[1];
    column += next_column;
  }
}

// A thread takes an output voxel and, by blockIdx.y, the offsets of one x: columns that differ in y
// are neighbours in memory. The blocks of each x share out the valid voxels: with one block for
// each part of a capacity, most would find nothing to do.
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
      if (i < size) find_slab(tables, t, i, static_cast<int>(blockIdx.y));
    }
    block -= blocks;
  }
}

template <typename Index>
cudaError_t find_neighbors(const NeighborTables<Index>& tables, cudaStream_t stream) {
  // Times 3 offsets along x: a few times what a large device runs at once.
  constexpr int64_t kMaxBlocks = 512;
  if (tables.max_blocks == 0) return cudaSuccess;
  const int64_t blocks = std::min(tables.max_blocks, kMaxBlocks);
  cudaLaunchConfig_t config = launch_config(blocks, kThreadsPerBlock, stream);
  config.gridDim.y = static_cast<unsigned>(tables.kernel.size[0]);
  return cudaLaunchKernelEx(&config, find_neighbors_kernel<Index>, tables);
}

}  // namespace elite_ops::cuda
