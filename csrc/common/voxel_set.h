// Voxels in a grid, as the kernels receive them.
#pragma once

#include <cstdint>

#include "host_device.h"
#include "num_rows.h"
#include "voxel_grid.h"

namespace elite_ops {

struct VoxelSet {
  const int32_t* indices;  // [num_voxels, 4]: batch, x, y, z
  int64_t num_voxels;
  VoxelGrid grid;
  const int64_t* num_rows = nullptr;  // valid rows (num_rows.h)

  ELITE_HOST_DEVICE int64_t size() const { return valid_rows(num_rows, num_voxels); }

  ELITE_HOST_DEVICE bool in_grid(int64_t i) const {
    const int32_t* index = indices + i * 4;
    return index[0] >= 0 && index[0] < grid.batch_size && index[1] >= 0 &&
           index[1] < grid.shape[0] && index[2] >= 0 && index[2] < grid.shape[1] && index[3] >= 0 &&
           index[3] < grid.shape[2];
  }
  ELITE_HOST_DEVICE int64_t key(int64_t i) const {
    const int32_t* index = indices + i * 4;
    return grid.key(index[0], index[1], index[2], index[3]);
  }
};

}  // namespace elite_ops
