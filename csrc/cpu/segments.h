// The points of each segment, as a CSR list.
#pragma once

#include <cstdint>

namespace elite_ops::cpu {

// Writes `order` [num_points], the points by rising segment, those of a segment by rising number,
// and those in no segment (-1) last; and `offsets` [num_segments + 1], where each segment begins.
// Returns the first point whose segment is outside [-1, num_segments), else -1.
int64_t build_segments(const int32_t* inverse, int64_t num_points, int64_t num_segments,
                       int32_t* order, int32_t* offsets);

}  // namespace elite_ops::cpu
