// Voxels in ascending order of their keys: walking along them, every look-up of ascending keys is
// cheap.
#pragma once

#include <cstdint>
#include <vector>

#include "common/voxel_set.h"

namespace elite_ops::cpu {

// Numbers cells by (batch, x, y, z), with a gap after each axis: a displacement within the gap is
// then one difference of keys, and one that leaves the grid lands where no voxel is.
struct CellKeys {
  int64_t stride_batch, stride_x, stride_y;

  CellKeys(const VoxelGrid& grid, int64_t gap_x, int64_t gap_y, int64_t gap_z)
      : stride_batch((grid.shape[0] + gap_x) * (grid.shape[1] + gap_y) * (grid.shape[2] + gap_z)),
        stride_x((grid.shape[1] + gap_y) * (grid.shape[2] + gap_z)),
        stride_y(grid.shape[2] + gap_z) {}
  explicit CellKeys(const VoxelGrid& grid) : CellKeys(grid, 0, 0, 0) {}

  int64_t operator()(int64_t batch, int64_t x, int64_t y, int64_t z) const {
    return batch * stride_batch + x * stride_x + y * stride_y + z;
  }
};

// What is wrong with a set of voxels, if anything: the first row outside the grid, or two equal
// rows.
struct VoxelSetError {
  enum Kind { kNone, kOutOfRange, kDuplicate } kind = kNone;
  int64_t row = -1;
  int64_t other_row = -1;
};

struct VoxelIndex {
  std::vector<int64_t> keys;  // and one past the end that is larger than any
  std::vector<int32_t> rows;  // empty where row i is i
  VoxelSetError error;        // after kOutOfRange there is nothing else

  VoxelIndex(const VoxelSet& voxels, const CellKeys& key);

  int64_t size() const { return static_cast<int64_t>(keys.size()) - 1; }
  int64_t row(int64_t i) const { return rows.empty() ? i : rows[i]; }

 private:
  void sort(int64_t key_end);
};

}  // namespace elite_ops::cpu
