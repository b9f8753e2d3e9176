// Rows of voxels copied to their points.
#pragma once

#include <cstdint>

namespace elite_ops::cpu {

// out[i] = features[inverse[i]]; 0 where `inverse` names no voxel.
template <typename scalar_t>
void voxel_to_point(const scalar_t* features, const int32_t* inverse, int64_t num_points,
                    int64_t num_voxels, int64_t channels, scalar_t* out);

}  // namespace elite_ops::cpu
