// What the transition between two scales is built from and into.
#pragma once

#include <cstdint>

namespace elite_ops {

// The points of one scale (segments.h): the voxel of each point, and the points by voxel.
struct PointVoxels {
  const int32_t* inverse;  // [num_points], -1 where a point has no voxel
  const int32_t* order;    // [num_points]
  int64_t num_voxels;
};

// A CSR list to be written. There are at most as many entries as points; the places after the last
// entry are filled with column -1 and weight 0.
struct CsrOutput {
  int32_t* offsets;  // [rows + 1]
  int32_t* columns;  // [num_points]
  float* weights;    // [num_points]
};

}  // namespace elite_ops
