// Each segment of the first grouping is taken apart by itself. Most hold one group, so that one
// look at each point is enough.
#include "intersect_segments.h"

#include <algorithm>
#include <iterator>
#include <numeric>

#include "parallel.h"

namespace elite_ops::cpu {
namespace {

constexpr int64_t kGrainSize = 512;

struct Counts {
  int32_t points, groups;
};

// One thread's way through the segments.
class SegmentSorter {
 public:
  explicit SegmentSorter(const Groupings& groupings) : groupings_(groupings) {}

  // Writes the points of the segment by group, the first of each inverted.
  Counts run(int64_t segment, int32_t* marked) {
    const int32_t* begin = groupings_.order + groupings_.offsets[segment];
    const int32_t* end = groupings_.order + groupings_.offsets[segment + 1];
    if (begin == end) return {0, 0};
    if (!is_one_group(begin, end)) return sort(begin, end, marked);
    std::copy(begin, end, marked);
    marked[0] = ~marked[0];
    return {static_cast<int32_t>(end - begin), 1};
  }

 private:
  // Without branches in the inner loop, so that its loads don't wait for each other.
  bool is_one_group(const int32_t* begin, const int32_t* end) const {
    int32_t difference = 0;
    for (const int32_t* segment_of : groupings_.inverse) {
      const int32_t segment = segment_of[*begin];
      if (segment < 0) return false;
      for (const int32_t* p = begin + 1; p != end; ++p) difference |= segment_of[*p] ^ segment;
    }
    return difference == 0;
  }

  Counts sort(const int32_t* begin, const int32_t* end, int32_t* marked) {
    points_.clear();
    std::copy_if(begin, end, std::back_inserter(points_), [&](int32_t p) { return is_in_all(p); });
    std::sort(points_.begin(), points_.end(),
              [&](int32_t a, int32_t b) { return is_before(a, b); });
    Counts counts{0, 0};
    for (size_t i = 0; i < points_.size(); ++i) {
      const bool is_first = i == 0 || !are_together(points_[i - 1], points_[i]);
      marked[counts.points++] = is_first ? ~points_[i] : points_[i];
      counts.groups += is_first;
    }
    return counts;
  }

  bool is_in_all(int32_t point) const {
    return std::all_of(groupings_.inverse.begin(), groupings_.inverse.end(),
                       [&](const int32_t* segment_of) { return segment_of[point] >= 0; });
  }

  bool are_together(int32_t a, int32_t b) const {
    return std::all_of(groupings_.inverse.begin(), groupings_.inverse.end(),
                       [&](const int32_t* segment_of) { return segment_of[a] == segment_of[b]; });
  }

  bool is_before(int32_t a, int32_t b) const {
    for (const int32_t* segment_of : groupings_.inverse) {
      if (segment_of[a] != segment_of[b]) return segment_of[a] < segment_of[b];
    }
    return a < b;
  }

  const Groupings& groupings_;
  std::vector<int32_t> points_;
};

}  // namespace

SegmentIntersection::SegmentIntersection(const Groupings& groupings)
    : groupings_(groupings),
      marked_(groupings.num_points),
      points_before_(groupings.num_segments + 1, 0),
      groups_before_(groupings.num_segments + 1, 0) {
  parallel_for(0, groupings.num_segments, kGrainSize, [&](int64_t begin, int64_t end) {
    SegmentSorter sorter(groupings);
    for (int64_t v = begin; v < end; ++v) {
      const auto [points, groups] = sorter.run(v, marked_.data() + groupings.offsets[v]);
      points_before_[v + 1] = points;
      groups_before_[v + 1] = groups;
    }
  });
  std::partial_sum(points_before_.begin(), points_before_.end(), points_before_.begin());
  std::partial_sum(groups_before_.begin(), groups_before_.end(), groups_before_.begin());
}

void SegmentIntersection::write(const IntersectedSegments& out) const {
  std::fill_n(out.inverse, groupings_.num_points, -1);
  parallel_for(0, groupings_.num_segments, kGrainSize, [&](int64_t begin, int64_t end) {
    for (int64_t v = begin; v < end; ++v) write_segment(v, out);
  });
  int32_t at = points_before_.back();
  out.offsets[num_groups()] = at;
  for (int64_t i = 0; i < groupings_.num_points; ++i) {
    if (out.inverse[i] < 0) out.order[at++] = static_cast<int32_t>(i);
  }
}

void SegmentIntersection::write_segment(int64_t segment, const IntersectedSegments& out) const {
  const int32_t* marked = marked_.data() + groupings_.offsets[segment];
  int32_t group = groups_before_[segment] - 1;
  for (int32_t at = points_before_[segment]; at < points_before_[segment + 1]; ++at, ++marked) {
    const int32_t point = std::max(*marked, ~*marked);
    if (*marked < 0) {
      out.offsets[++group] = at;
      for (size_t g = 0; g < groupings_.inverse.size(); ++g) {
        out.segments[g * num_groups() + group] = groupings_.inverse[g][point];
      }
    }
    out.inverse[point] = group;
    out.order[at] = point;
  }
}

}  // namespace elite_ops::cpu
