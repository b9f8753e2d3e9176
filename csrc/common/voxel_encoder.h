// What encodes the points of a voxel, for the CPU and the CUDA kernels.
#pragma once

#include <cstdint>

#include "csr.h"
#include "host_device.h"

namespace elite_ops {

// The points of each voxel, and where the voxels lie.
struct VoxelPoints {
  const float* points;  // [N, columns]: x, y, z (m), features
  int64_t columns;
  const int32_t* indices;  // [V, 4]: batch, x, y, z
  Csr voxels;              // entries are points
  float origin[3];         // of the grid (m)
  float voxel_size[3];     // (m)

  // What describes a point: its columns, and its offsets from the voxel's mean and lower corner.
  ELITE_HOST_DEVICE int64_t num_features() const { return columns + 6; }

  ELITE_HOST_DEVICE const float* point(int32_t entry) const {
    return points + voxels.columns[entry] * columns;
  }

  ELITE_HOST_DEVICE float corner(int64_t voxel, int axis) const {
    return static_cast<float>(indices[voxel * 4 + 1 + axis]) * voxel_size[axis] + origin[axis];
  }
};

// out = leaky_relu(features @ weight + bias), averaged over the voxel.
template <typename T, typename Accumulator = T>
struct VoxelEncoder {
  const T* weight;  // [num_features, channels]
  const T* bias;    // [channels]
  int64_t channels;
  Accumulator negative_slope;
};

}  // namespace elite_ops
