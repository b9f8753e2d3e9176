// The cells that a convolution reaches from a set of voxels, and the pairs that meet.
#pragma once

#include <cstdint>
#include <functional>

#include "common/kernel_geometry.h"
#include "voxel_index.h"

namespace elite_ops::cpu {

struct OutputVoxels {
  int32_t* indices;  // [V_out, 4]: the cells, in order of (batch, x, y, z)
  int32_t* in_rows;  // [K, V_out]: the row of the voxel that meets each cell, -1; or null
};

// Fills what allocate(V_out) gives: the output cells that at least one voxel meets, and the pairs.
// The index is that of the voxels without gaps; equal voxels count as one, where no pairs are
// wanted. With `transposed`, the geometry's inputs are the outputs.
void output_voxels(const VoxelSet& voxels, const VoxelIndex& index, const KernelGeometry& kernel,
                   bool transposed, const VoxelGrid& outputs,
                   const std::function<OutputVoxels(int64_t)>& allocate);

}  // namespace elite_ops::cpu
