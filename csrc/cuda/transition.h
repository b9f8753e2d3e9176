// The sparse operator "gather to the points, then mean per coarse voxel" between two scales, on
// CUDA.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "common/transition.h"

namespace elite_ops::cuda {

size_t build_transition_workspace_bytes(int64_t num_points, int64_t num_fine, int64_t num_coarse);

// Writes `forward` and `transposed` as cpu::build_transition does. Nothing waits for the number of
// entries: there are at most as many as points, and the places after the last one are filled.
cudaError_t build_transition(const PointVoxels& fine, const PointVoxels& coarse, int64_t num_points,
                             void* workspace, const CsrOutput& forward, const CsrOutput& transposed,
                             cudaStream_t stream);

}  // namespace elite_ops::cuda
