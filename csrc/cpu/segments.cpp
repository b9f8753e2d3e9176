#include "segments.h"

#include <algorithm>
#include <numeric>

namespace elite_ops::cpu {

int64_t build_segments(const int32_t* inverse, int64_t num_points, int64_t num_segments,
                       int32_t* order, int32_t* offsets) {
  std::fill_n(offsets, num_segments + 1, 0);
  for (int64_t i = 0; i < num_points; ++i) {
    if (inverse[i] < -1 || inverse[i] >= num_segments) return i;
    if (inverse[i] >= 0) ++offsets[inverse[i]];
  }
  std::exclusive_scan(offsets, offsets + num_segments + 1, offsets, 0);

  // Each offset is the next free place of its segment meanwhile, and ends where the next one
  // begins.
  int32_t next_in_none = offsets[num_segments];
  for (int64_t i = 0; i < num_points; ++i) {
    int32_t& next = inverse[i] >= 0 ? offsets[inverse[i]] : next_in_none;
    order[next++] = static_cast<int32_t>(i);
  }
  std::copy_backward(offsets, offsets + num_segments, offsets + num_segments + 1);
  offsets[0] = 0;
  return -1;
}

int64_t segments_from_csr(const int64_t* csr_offsets, int64_t num_points, int64_t num_segments,
                          int32_t* inverse, int32_t* order, int32_t* offsets) {
  if (csr_offsets[0] != 0) return 0;
  for (int64_t v = 1; v <= num_segments; ++v) {
    if (csr_offsets[v] < csr_offsets[v - 1] || csr_offsets[v] > num_points) return v;
  }
  for (int64_t v = 0; v < num_segments; ++v) {
    offsets[v] = static_cast<int32_t>(csr_offsets[v]);
    std::fill(inverse + csr_offsets[v], inverse + csr_offsets[v + 1], static_cast<int32_t>(v));
  }
  offsets[num_segments] = static_cast<int32_t>(csr_offsets[num_segments]);
  std::fill(inverse + offsets[num_segments], inverse + num_points, -1);
  std::iota(order, order + num_points, 0);
  return -1;
}

}  // namespace elite_ops::cpu
