// The cells that a convolution reaches from a set of voxels.
#pragma once

#include <cstdint>
#include <functional>

#include "common/kernel_geometry.h"
#include "voxel_index.h"

namespace elite_ops::cpu {

// Calls allocate(V_out), whose result [V_out, 4] is filled with the output cells that at least one
// voxel meets, in order of (batch, x, y, z). The index is that of the voxels without gaps; equal
// voxels count as one. With `transposed`, the geometry's inputs are the outputs.
void output_voxels(const VoxelSet& voxels, const VoxelIndex& index, const KernelGeometry& kernel,
                   bool transposed, const VoxelGrid& outputs,
                   const std::function<int32_t*(int64_t)>& allocate);

}  // namespace elite_ops::cpu
