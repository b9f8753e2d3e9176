// Rows of points in the slots of their voxels, and back.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "common/voxel_slots.h"

namespace elite_ops::cuda {

// out [V, T, C]: what the points have, and 0 in slots without one. Instantiated for unsigned
// integers of 16, 32 and 64 bits, as nothing is computed.
template <typename word_t>
cudaError_t fill_slots(const word_t* features, const PointSlots& slots, word_t* out,
                       cudaStream_t stream);

// out [N, C]: what the slots of the points hold; 0 for a point without one.
template <typename word_t>
cudaError_t take_slots(const word_t* voxels, const PointSlots& slots, word_t* out,
                       cudaStream_t stream);

}  // namespace elite_ops::cuda
