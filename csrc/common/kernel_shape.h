// The offsets of a convolution kernel.
#pragma once

#include <cstdint>

#include "host_device.h"

namespace elite_ops {

// Offset k = (i_x * size_y + i_y) * size_z + i_z is the displacement (i - size / 2) * dilation from
// an output voxel to an input voxel. Sizes are odd, so offset K-1-k is the opposite of offset k.
struct KernelShape {
  int32_t size[3];
  int32_t dilation[3];

  ELITE_HOST_DEVICE int64_t num_offsets() const { return int64_t{size[0]} * size[1] * size[2]; }
  // The largest displacement along an axis.
  ELITE_HOST_DEVICE int64_t reach(int axis) const {
    return int64_t{size[axis] / 2} * dilation[axis];
  }
};

}  // namespace elite_ops
