// The points of each segment, as a CSR list.
#pragma once

#include <cstdint>

namespace elite_ops::cpu {

// Writes `order` [num_points], the points by rising segment, those of a segment by rising number,
// and those in no segment (-1) last; and `offsets` [num_segments + 1], where each segment begins.
// Returns the first point whose segment is outside [-1, num_segments), else -1.
int64_t build_segments(const int32_t* inverse, int64_t num_points, int64_t num_segments,
                       int32_t* order, int32_t* offsets);

// The same, and `inverse` [num_points], of segments that are neighbouring points: segment v is
// [csr_offsets[v], csr_offsets[v + 1]). Points behind the last one are in none. Returns the first
// offset that is not 0 at first, falls, or is more than `num_points`, and then writes nothing; else
// -1.
int64_t segments_from_csr(const int64_t* csr_offsets, int64_t num_points, int64_t num_segments,
                          int32_t* inverse, int32_t* order, int32_t* offsets);

}  // namespace elite_ops::cpu
