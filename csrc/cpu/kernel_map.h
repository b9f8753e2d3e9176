// The neighbour table of a submanifold convolution.
#pragma once

#include <cstdint>

#include "common/kernel_shape.h"

namespace elite_ops::cpu {

// Voxels of `batch_size` grids of `shape` cells.
struct VoxelSet {
  const int32_t* indices;  // [V, 4]: batch, x, y, z
  int64_t num_voxels;
  int64_t batch_size;
  int64_t shape[3];
};

// What is wrong with a set of voxels, if anything: the first row outside the grid, or two equal
// rows.
struct VoxelSetError {
  enum Kind { kNone, kOutOfRange, kDuplicate } kind = kNone;
  int64_t row = -1;
  int64_t other_row = -1;
};

// Writes the first V columns of neighbors [K, capacity]: the row of each voxel's neighbour under
// each offset, -1 where there is none. Voxels may come in any order; those of voxelize() are taken
// as fast as they are sorted. The cells of all grids, each widened by the kernel's reach, must be
// fewer than 2^62.
VoxelSetError build_kernel_map(const VoxelSet& voxels, const KernelShape& kernel, int64_t capacity,
                               int32_t* neighbors);

}  // namespace elite_ops::cpu
