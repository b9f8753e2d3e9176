// The points that lie in the same segment of each of several groupings.
#pragma once

#include <cstdint>
#include <vector>

#include "aligned_buffer.h"

namespace elite_ops::cpu {

// Groupings of the same points. The first one leads: its segments are taken apart.
struct Groupings {
  std::vector<const int32_t*> inverse;  // of each [num_points]: segment of each point, -1 = none
  const int32_t* order;                 // of the first [num_points]: points by segment
  const int32_t* offsets;               // of the first [num_segments + 1]
  int64_t num_segments;                 // of the first
  int64_t num_points;
};

struct IntersectedSegments {
  int32_t* inverse;   // [num_points]: group of each point, -1 = none
  int32_t* order;     // [num_points]: points by group, then by number; those in none last
  int32_t* offsets;   // [groups + 1]
  int32_t* segments;  // [groupings, groups]: where each group lies
};

// Groups are in lexicographic order of their segments. A point that is in no segment of some
// grouping is in no group. Finding comes first, so that the caller can allocate; `groupings` must
// live until `write`.
class SegmentIntersection {
 public:
  explicit SegmentIntersection(const Groupings& groupings);

  int64_t num_groups() const { return groups_before_.back(); }
  void write(const IntersectedSegments& out) const;

 private:
  void write_segment(int64_t segment, const IntersectedSegments& out) const;

  const Groupings& groupings_;
  // In the place of each segment of the first grouping: its points by group. The first point of a
  // group is inverted bit by bit, which makes it negative.
  AlignedBuffer<int32_t> marked_;
  // Of the segments before each one of the first grouping, and at the end of all.
  std::vector<int32_t> points_before_;
  std::vector<int32_t> groups_before_;
};

}  // namespace elite_ops::cpu
