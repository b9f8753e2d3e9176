// A small encoder applied to every point, averaged over voxels, on the CPU. Source: 2DPASS (Yan et
// al., ECCV 2022); with a linear layer before the mean, VoxelNet (Zhou and Tuzel, CVPR 2018).
#pragma once

#include <cstdint>

#include "common/voxel_encoder.h"

namespace elite_ops::cpu {

// A voxel without points becomes 0. Points are summed in the order of their entries.
template <typename T>
void encode_voxels(const VoxelPoints& voxels, const VoxelEncoder<T>& encoder,
                   T* out);  // [V, channels]

// The gradients of weight and bias. The result does not depend on the number of threads.
template <typename T>
void encode_voxels_backward(const VoxelPoints& voxels, const VoxelEncoder<T>& encoder,
                            const T* grad_out,  // [V, channels]
                            T* grad_weight,     // [num_features, channels]
                            T* grad_bias);      // [channels]

}  // namespace elite_ops::cpu
