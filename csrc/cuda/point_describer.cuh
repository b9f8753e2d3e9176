// Where the points of a voxel are described from (common/voxel_encoder.h), by the warp that owns
// it.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "common/voxel_encoder.h"

namespace elite_ops::cuda {

constexpr int kWarpSize = 32;

// The mean of a voxel's points, and its lower corner. Each lane adds up every 32nd point, then the
// lanes are added in a fixed order.
__device__ __forceinline__ void find_origins(const VoxelPoints& voxels, int64_t v, int lane,
                                             float (&origins)[6]) {
  const int32_t first = voxels.voxels.offsets[v], last = voxels.voxels.offsets[v + 1];
#pragma unroll
  for (int axis = 0; axis < 3; ++axis) {
    float sum = 0;
    for (int32_t e = first + lane; e < last; e += kWarpSize) sum += voxels.point(e)[axis];
    for (int step = kWarpSize / 2; step > 0; step /= 2) {
      sum += __shfl_xor_sync(0xffffffffu, sum, step);
    }
    origins[axis] = sum / static_cast<float>(last - first);
    origins[3 + axis] = voxels.corner(v, axis);
  }
}

}  // namespace elite_ops::cuda
