// Which cells of two grids a convolution kernel connects.
#pragma once

#include <cstdint>

#include "host_device.h"

namespace elite_ops {

// Offset k = (i_x * size_y + i_y) * size_z + i_z connects, along each axis,
//   input = stride * output - padding + dilation * i.
struct KernelGeometry {
  int32_t size[3];
  int32_t stride[3];
  int32_t padding[3];
  int32_t dilation[3];

  ELITE_HOST_DEVICE int64_t num_offsets() const { return int64_t{size[0]} * size[1] * size[2]; }
  // From the first offset to the last.
  ELITE_HOST_DEVICE int64_t reach(int axis) const {
    return int64_t{size[axis] - 1} * dilation[axis];
  }
  // The input cell of the first offset.
  ELITE_HOST_DEVICE int64_t first_input(int axis, int64_t output) const {
    return output * stride[axis] - padding[axis];
  }

  // Whether every offset K-1-k is the opposite of offset k.
  ELITE_HOST_DEVICE bool is_symmetric() const {
    for (int axis = 0; axis < 3; ++axis) {
      if (size[axis] % 2 == 0 || stride[axis] != 1 || 2 * padding[axis] != reach(axis)) {
        return false;
      }
    }
    return true;
  }
};

// The geometry of a convolution whose outputs are its inputs; of an even kernel the longer side is
// the end.
inline KernelGeometry submanifold_geometry(const int32_t (&size)[3], const int32_t (&dilation)[3]) {
  KernelGeometry geometry;
  for (int axis = 0; axis < 3; ++axis) {
    geometry.size[axis] = size[axis];
    geometry.stride[axis] = 1;
    geometry.dilation[axis] = dilation[axis];
    geometry.padding[axis] = static_cast<int32_t>(geometry.reach(axis) / 2);
  }
  return geometry;
}

// Calls body(output, offset) for each of the `num_outputs` output cells along an axis that an input
// cell meets, in ascending order; with `transposed`, inputs and outputs have changed places.
template <typename Body>
ELITE_HOST_DEVICE inline void for_each_output(const KernelGeometry& geometry, int axis,
                                              bool transposed, int32_t input, int32_t num_outputs,
                                              const Body& body) {
  const int32_t stride = geometry.stride[axis], dilation = geometry.dilation[axis];
  if (transposed) {
    int64_t output = geometry.first_input(axis, input);
    for (int32_t i = 0; i < geometry.size[axis]; ++i, output += dilation) {
      if (output >= 0 && output < num_outputs) body(static_cast<int32_t>(output), i);
    }
    return;
  }
  int32_t distance = input + geometry.padding[axis] - static_cast<int32_t>(geometry.reach(axis));
  for (int32_t i = geometry.size[axis] - 1; i >= 0; --i, distance += dilation) {
    if (distance < 0) continue;
    const int32_t output = stride == 1 ? distance : distance / stride;
    if (output * stride == distance && output < num_outputs) body(output, i);
  }
}

}  // namespace elite_ops
