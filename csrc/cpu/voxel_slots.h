// Rows of points in the slots of their voxels, and back.
#pragma once

#include <cstdint>

#include "common/voxel_slots.h"

namespace elite_ops::cpu {

// out [V, T, C]: what the points have, and 0 in slots without one. Instantiated for unsigned
// integers of 16, 32 and 64 bits, as nothing is computed.
template <typename word_t>
void fill_slots(const word_t* features, const PointSlots& slots, word_t* out);

// out [N, C]: what the slots of the points hold; 0 for a point without one.
template <typename word_t>
void take_slots(const word_t* voxels, const PointSlots& slots, word_t* out);

}  // namespace elite_ops::cpu
