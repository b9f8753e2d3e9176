// What the segment lists are built from.
#pragma once

#include <cstdint>

namespace elite_ops {

// Lists of one call: the kernel takes their pointers by value.
constexpr int kMaxSegmentLists = 32;

// The segment of each point of one list; -1 where a point is in none.
struct SegmentInput {
  const int32_t* inverse;  // [num_points]
  int64_t num_points;
  int64_t num_segments;
};

}  // namespace elite_ops
