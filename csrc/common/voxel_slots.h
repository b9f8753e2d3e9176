// Where the rows of N points are in buffers [V, T, C] of voxels: those of a voxel in its first
// slots.
#pragma once

#include <cstdint>

#include "host_device.h"

namespace elite_ops {

struct PointSlots {
  const int32_t* rows;    // [N]: the voxel of each point
  const int32_t* slots;   // [N]: its place among the points of the voxel
  const int32_t* counts;  // [V]: the points of each voxel
  int64_t num_points;
  int64_t num_voxels;
  int64_t max_points;  // slots of a voxel
  int64_t channels;

  // The slot of a point, counted through all voxels; -1 where it has none.
  ELITE_HOST_DEVICE int64_t of(int64_t point) const {
    const int64_t row = rows[point], slot = slots[point];
    const bool exists = row >= 0 && row < num_voxels && slot >= 0 && slot < max_points;
    return exists ? row * max_points + slot : -1;
  }

  int64_t num_elements() const { return num_voxels * max_points * channels; }
};

}  // namespace elite_ops
