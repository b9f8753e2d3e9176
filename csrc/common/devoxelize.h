// The voxels that a point takes its features from, and with which weights.
#pragma once

#include <cmath>
#include <cstdint>

#include "host_device.h"
#include "voxel_grid.h"

namespace elite_ops {

constexpr int kNumCorners = 8;

struct Devoxelization {
  PointRows points;
  PointRange range;
  VoxelGrid grid;
  bool nearest;

  ELITE_HOST_DEVICE int corners() const { return nearest ? 1 : kNumCorners; }
  ELITE_HOST_DEVICE bool in_batch(int64_t i) const {
    return points.sample(i) >= 0 && points.sample(i) < grid.batch_size;
  }

  // Writes what point i takes its features from: rows, -1 for none, and weights that sum to 1.
  // `walk.find(batch, x, y, z)` is called for cells in the grid, in their order.
  template <typename Walk>
  ELITE_HOST_DEVICE void find(int64_t i, Walk& walk, int32_t* rows, float* weights) const {
    for (int c = 0; c < corners(); ++c) {
      rows[c] = -1;
      weights[c] = 0;
    }
    const float* p = points.at(i);
    if (!range.contains(p) || !in_batch(i)) return;
    if (nearest) {
      rows[0] = walk.find(points.sample(i), grid.cell(range, p, 0), grid.cell(range, p, 1),
                          grid.cell(range, p, 2));
      weights[0] = rows[0] >= 0 ? 1.f : 0.f;
    } else {
      find_corners(i, walk, rows, weights);
    }
  }

 private:
  // Corner c = (c_x * 2 + c_y) * 2 + c_z. One of weight 0 is not looked for.
  template <typename Walk>
  ELITE_HOST_DEVICE void find_corners(int64_t i, Walk& walk, int32_t* rows, float* weights) const {
    int32_t lower[3];
    float share[3][2];
    for (int axis = 0; axis < 3; ++axis) {
      const float place = position(points.at(i), axis) - 0.5f;
      const float below = std::floor(place);
      lower[axis] = static_cast<int32_t>(below);
      share[axis][1] = place - below;
      share[axis][0] = 1.f - share[axis][1];
    }
    float sum = 0;
    for (int c = 0; c < kNumCorners; ++c) {
      const int up[3] = {c >> 2, (c >> 1) & 1, c & 1};
      const int32_t x = lower[0] + up[0], y = lower[1] + up[1], z = lower[2] + up[2];
      const float weight = share[0][up[0]] * share[1][up[1]] * share[2][up[2]];
      if (weight <= 0 || !in_grid(x, y, z)) continue;
      rows[c] = walk.find(points.sample(i), x, y, z);
      if (rows[c] < 0) continue;
      weights[c] = weight;
      sum += weight;
    }
    for (int c = 0; c < kNumCorners; ++c) {
      if (rows[c] >= 0) weights[c] /= sum;
    }
  }

  // In cells from the lower end of the range, as for `cell_of`.
  ELITE_HOST_DEVICE float position(const float* p, int axis) const {
    const auto size = static_cast<float>(grid.shape[axis]);
    return size * (p[axis] - range.min[axis]) / range.extent[axis];
  }
  ELITE_HOST_DEVICE bool in_grid(int32_t x, int32_t y, int32_t z) const {
    return x >= 0 && x < grid.shape[0] && y >= 0 && y < grid.shape[1] && z >= 0 &&
           z < grid.shape[2];
  }
};

}  // namespace elite_ops
