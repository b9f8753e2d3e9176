// The cells that a convolution reaches from a set of voxels.
//
// In two phases, since the host has to learn how many there are before it can allocate them.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "common/kernel_geometry.h"
#include "common/voxel_set.h"

namespace elite_ops::cuda {

struct OutputVoxelsArguments {
  VoxelSet voxels;
  KernelGeometry kernel;
  bool transposed;  // the geometry's inputs are the outputs
  VoxelGrid outputs;
};

size_t output_voxels_workspace_bytes(const OutputVoxelsArguments& arguments);

// Writes the number of output cells that at least one voxel meets. Voxels outside their grid are
// left out, with kIndexOutOfRange; equal ones count as one.
cudaError_t count_output_voxels(const OutputVoxelsArguments& arguments, void* workspace,
                                int64_t* num_outputs, int32_t* error_flag, cudaStream_t stream);

// Writes the cells [num_outputs, 4], in order of (batch, x, y, z), that the first phase left in the
// workspace.
cudaError_t emit_output_voxels(const OutputVoxelsArguments& arguments, void* workspace,
                               int64_t num_outputs, int32_t* indices, cudaStream_t stream);

}  // namespace elite_ops::cuda
