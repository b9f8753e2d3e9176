#include "segments.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace elite_ops::cpu {

int64_t build_segments(const int32_t* inverse, int64_t num_points, int64_t num_segments,
                       int32_t* order, int32_t* offsets) {
  std::fill_n(offsets, num_segments + 1, 0);
  for (int64_t i = 0; i < num_points; ++i) {
    if (inverse[i] < -1 || inverse[i] >= num_segments) return i;
    if (inverse[i] >= 0) ++offsets[inverse[i] + 1];
  }
  std::partial_sum(offsets, offsets + num_segments + 1, offsets);

  // The next free place of each segment; the last one belongs to the points in no segment.
  std::vector<int32_t> next(offsets, offsets + num_segments + 1);
  for (int64_t i = 0; i < num_points; ++i) {
    const int64_t segment = inverse[i] >= 0 ? inverse[i] : num_segments;
    order[next[segment]++] = static_cast<int32_t>(i);
  }
  return -1;
}

}  // namespace elite_ops::cpu
