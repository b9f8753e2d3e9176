// The grid of hard voxelization: cells of a given size, counted from a corner.
#pragma once

#include <cstdint>

#include "host_device.h"

namespace elite_ops {

struct CellGrid {
  float minimum[3];     // the corner, in metres
  float voxel_size[3];  // in metres
  int32_t shape[3];     // cells along x, y, z; at most kMaxCellsPerAxis
  int64_t batch_size;

  // floor((p - minimum) / voxel_size), as a number that is still to be cut: float32, in this order.
  // No product is followed by a sum, so no compiler can fuse the two and change a bit.
  ELITE_HOST_DEVICE float position(float p, int axis) const {
    return (p - minimum[axis]) / voxel_size[axis];
  }
  // A NaN is not; nor is what lies at the upper end.
  ELITE_HOST_DEVICE bool contains(float position, int axis) const {
    return position >= 0 && position < static_cast<float>(shape[axis]);
  }

  ELITE_HOST_DEVICE int64_t num_cells() const {
    return batch_size * shape[0] * shape[1] * shape[2];
  }

  // The cell of a key: batch, x, y, z. Divisions are slow: give a key that fits in 32 bits as such.
  template <typename key_t>
  ELITE_HOST_DEVICE void unpack(key_t key, int32_t* index) const {
    for (int axis = 2; axis >= 0; --axis) {
      const auto size = static_cast<key_t>(shape[axis]);
      index[axis + 1] = static_cast<int32_t>(key % size);
      key /= size;
    }
    index[0] = static_cast<int32_t>(key);
  }
};

// How many there may be.
struct VoxelLimits {
  int64_t max_points;  // in a voxel
  int64_t max_voxels;  // in a sample
};

}  // namespace elite_ops
