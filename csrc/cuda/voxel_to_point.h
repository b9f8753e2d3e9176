// Rows of voxels copied to their points, on CUDA.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace elite_ops::cuda {

// out[i] = features[inverse[i]]; 0 where `inverse` names no voxel.
template <typename scalar_t>
cudaError_t voxel_to_point(const scalar_t* features, const int32_t* inverse, int64_t num_points,
                           int64_t num_voxels, int64_t channels, scalar_t* out,
                           cudaStream_t stream);

}  // namespace elite_ops::cuda
