// A small encoder applied to every point, averaged over voxels, on CUDA (csrc/cpu/encode_voxels.h).
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include "accumulate.cuh"
#include "common/voxel_encoder.h"

namespace elite_ops::cuda {

// A warp takes a few voxels at a time; those past `voxels.num_rows` are not written. Sums are
// formed in float, in double for double.
template <typename T>
cudaError_t encode_voxels(const VoxelPoints& voxels,
                          const VoxelEncoder<T, accumulate_t<T>>& encoder,
                          T* out,  // [V, channels]
                          cudaStream_t stream);

template <typename T>
size_t encode_voxels_backward_workspace_bytes(const VoxelPoints& voxels, int64_t channels);

// Columns of the points whose gradients can be had: what describes a point is in shared memory.
constexpr int64_t kMaxColumnsBackward = 256;

// The gradients of weight and bias, always added in the same order.
template <typename T>
cudaError_t encode_voxels_backward(const VoxelPoints& voxels,
                                   const VoxelEncoder<T, accumulate_t<T>>& encoder,
                                   const T* grad_out,  // [V, channels]
                                   void* workspace,
                                   T* grad_weight,  // [num_features, channels]
                                   T* grad_bias,    // [channels]
                                   cudaStream_t stream);

}  // namespace elite_ops::cuda
