// The voxels that points take their features from, and with which weights.
#pragma once

#include <cstdint>

#include "common/devoxelize.h"
#include "voxel_index.h"

namespace elite_ops::cpu {

// Writes rows and weights [N, corners], -1 and 0 for none; `index` by the grid's keys without gaps.
void devoxelize(const Devoxelization& call, const VoxelIndex& index, int32_t* rows, float* weights);

}  // namespace elite_ops::cpu
