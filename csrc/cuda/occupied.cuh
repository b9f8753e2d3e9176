// The occupied cells of grids, in order: mark, rank, emit. What marks a cell, a point or a voxel
// that a kernel reaches, is the caller's.
//
// Grids that a bitmap serves share one; larger ones are sorted (uses_bitmap() says which).
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "common/voxel_grid.h"
#include "cuda/key_sort.cuh"
#include "cuda/ranked_bitmap.cuh"
#include "cuda/workspace.cuh"

namespace elite_ops::cuda {

// Grids in the words of one bitmap, one after the other.
struct BitmapGrids {
  int count = 0;
  VoxelGrid grids[kMaxGrids];
  int64_t capacity[kMaxGrids];  // rows of a grid's buffers
  int64_t first_word[kMaxGrids + 1] = {};

  void add(const VoxelGrid& grid, int64_t rows) {
    grids[count] = grid;
    capacity[count] = rows;
    first_word[count + 1] = first_word[count] + grid.num_words();
    ++count;
  }
  int64_t num_words() const { return first_word[count]; }
};

// Where the results of each grid go.
struct OccupiedCells {
  int32_t* indices[kMaxGrids];  // [capacity, 4], aligned to 16 bytes
  int32_t* counts[kMaxGrids];   // [capacity], cleared; or null
};
struct OccupiedSizes {
  int64_t* num_voxels[kMaxGrids];
};

// Ranks the cells marked in a bitmap, and writes how many each grid has, at most its capacity:
// where it is exceeded, kCapacityExceeded is reported.
cudaError_t rank_occupied(const BitmapGrids& all, const RankedBitmap& bitmap,
                          const OccupiedSizes& sizes, int32_t* error_flag, cudaStream_t stream);

// Writes the cells by (batch, x, y, z).
cudaError_t emit_occupied(const BitmapGrids& all, const RankedBitmap& bitmap,
                          const OccupiedCells& cells, cudaStream_t stream);

// A grid that is sorted: keys in order, grid.num_words() * 64 for none last, and the number of
// different keys up to each.
struct SortedGrid {
  KeySort sort;
  int32_t* numbers;  // [num_rows]
  void* scan_scratch;
  size_t scan_bytes;
};

SortedGrid take_sorted_grid(Workspace& workspace, int64_t num_rows);

// The same for the keys in sorted.sort.keys and its rows.
cudaError_t rank_sorted(const SortedGrid& sorted, const VoxelGrid& grid, int64_t capacity,
                        int64_t* num_voxels, int32_t* error_flag, cudaStream_t stream);

// Also writes the row of each sorted row's cell to `inverse`, -1 for none, and counts them in
// `counts`; both may be null.
cudaError_t emit_sorted(const SortedGrid& sorted, const VoxelGrid& grid, int64_t capacity,
                        int32_t* indices, int32_t* inverse, int32_t* counts, cudaStream_t stream);

}  // namespace elite_ops::cuda
