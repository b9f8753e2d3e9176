// Points in segments, as the tests of the segment ops need them.
#pragma once

#include <cstdint>
#include <vector>

#include "cases.h"
#include "common/csr.h"
#include "common/transition.h"
#include "cpu/segments.h"

struct SegmentCase {
  std::vector<int32_t> inverse, order, offsets;

  SegmentCase(std::vector<int32_t> segments, int64_t num_segments)
      : inverse(std::move(segments)), order(inverse.size()), offsets(num_segments + 1) {
    CHECK(elite_ops::cpu::build_segments(inverse.data(), num_points(), num_segments, order.data(),
                                         offsets.data()) == -1);
  }

  int64_t num_points() const { return static_cast<int64_t>(inverse.size()); }
  int64_t num_segments() const { return static_cast<int64_t>(offsets.size()) - 1; }
  elite_ops::Csr csr() const { return {offsets.data(), order.data(), nullptr, num_segments()}; }
  elite_ops::PointVoxels voxels() const { return {inverse.data(), order.data(), num_segments()}; }
};

// Some points have no segment, and with many segments some are empty.
inline std::vector<int32_t> random_inverse(int64_t num_points, int64_t num_segments,
                                           uint64_t seed = 0) {
  harness::Random random(seed);
  std::vector<int32_t> inverse(num_points);
  for (int32_t& i : inverse) i = static_cast<int32_t>(random.integer(num_segments + 1) - 1);
  return inverse;
}

// Nothing, one point, around a warp, a few blocks; many empty segments, and one that holds all.
inline std::vector<SegmentCase> segment_cases() {
  std::vector<SegmentCase> cases;
  const std::pair<int64_t, int64_t> sizes[] = {{0, 0},   {0, 3},    {1, 1},    {31, 7},
                                               {33, 90}, {600, 40}, {300, 300}};
  for (const auto& [points, segments] : sizes) {
    cases.emplace_back(random_inverse(points, segments), segments);
  }
  cases.emplace_back(std::vector<int32_t>(700, 1), 3);
  cases.emplace_back(std::vector<int32_t>(40, -1), 5);
  return cases;
}
