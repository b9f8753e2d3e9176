// The pairs of voxels that a convolution kernel connects, as tables.
#pragma once

#include <cstdint>

#include "common/kernel_geometry.h"
#include "voxel_index.h"

namespace elite_ops::cpu {

// Writes the first V columns of in_rows [K, capacity]: the row of each voxel's neighbour under each
// offset of a symmetric kernel, -1 where there is none. Voxels may come in any order; those of
// voxelize() are taken as fast as they are sorted. The cells of all grids, each widened by the
// kernel's reach, must be fewer than 2^62.
VoxelSetError build_kernel_map(const VoxelSet& voxels, const KernelGeometry& kernel,
                               int64_t capacity, int32_t* in_rows);

// Writes in_rows [K, outputs]: the row of the input voxel that meets each output voxel under each
// offset, -1 where there is none. The indices are those of the two sets without gaps, and have no
// error.
void connect_voxels(const VoxelSet& inputs, const VoxelIndex& input_index, const VoxelSet& outputs,
                    const VoxelIndex& output_index, const KernelGeometry& kernel, int32_t* in_rows);

// The table from the other side: swapped[k, rows[k, i]] = i, and -1 elsewhere. False when `rows`
// holds a number outside [-1, num_rows); such an entry is left out.
bool swap_kernel_map(const int32_t* rows, int64_t num_offsets, int64_t num_columns,
                     int64_t num_rows, int32_t* swapped);

}  // namespace elite_ops::cpu
