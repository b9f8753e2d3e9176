// The kernels on lists of points by segment.
#include "cpu/segments.h"

#include <cmath>

#include "cpu/csr_reduce.h"
#include "cpu/intersect_segments.h"
#include "cpu/majority_vote.h"
#include "cpu/segment_reduce.h"
#include "cpu/segment_softmax.h"
#include "cpu/transition.h"
#include "cpu/voxel_to_point.h"
#include "segment_cases.h"
#include "threads.h"

using namespace elite_ops;
using threads::check_same_bits;
using threads::results;

namespace {

constexpr int64_t kPoints = 6000, kSegments = 900, kChannels = 20;

const SegmentCase& segments() {
  static const SegmentCase of_random_points(random_inverse(kPoints, kSegments), kSegments);
  return of_random_points;
}

std::vector<float> random_matrix(int64_t rows, uint64_t seed) {
  return harness::Random(seed).uniform_vector<float>(rows * kChannels);
}

// Two of thousands of points, which are cut into pieces, and one of a thousand.
const SegmentCase& long_segments() {
  static const SegmentCase built = [] {
    std::vector<int32_t> inverse(kPoints, 0);
    for (int64_t i = 0; i < kPoints; i += 3) inverse[i] = i % 2 == 0 ? kSegments - 1 : 7;
    return SegmentCase(inverse, kSegments);
  }();
  return built;
}

std::vector<float> reduce(const Csr& csr, const std::vector<float>& src, bool mean) {
  std::vector<float> out(csr.rows * kChannels);
  cpu::csr_reduce(src.data(), kChannels, csr, mean, out.data());
  return out;
}

}  // namespace

CASE(build_segments) {
  const std::vector<int32_t> inverse = random_inverse(kPoints, kSegments);
  check_same_bits([&] {
    const SegmentCase built(inverse, kSegments);
    return results(built.order, built.offsets);
  });
}

CASE(segments_from_csr) {
  const std::vector<int64_t> csr_offsets = {0, 40, 40, 5000};
  check_same_bits([&] {
    std::vector<int32_t> inverse(kPoints), order(kPoints), offsets(4);
    CHECK(cpu::segments_from_csr(csr_offsets.data(), kPoints, 3, inverse.data(), order.data(),
                                 offsets.data()) == -1);
    return results(inverse, order, offsets);
  });
}

CASE(intersect_segments) {
  const SegmentCase& first = segments();
  const std::vector<int32_t> second = random_inverse(kPoints, 8, 3);
  check_same_bits([&] {
    const cpu::Groupings groupings{{first.inverse.data(), second.data()},
                                   first.order.data(),
                                   first.offsets.data(),
                                   kSegments,
                                   kPoints};
    const cpu::SegmentIntersection found(groupings);
    std::vector<int32_t> inverse(kPoints), order(kPoints), offsets(found.num_groups() + 1);
    std::vector<int32_t> rows(2 * found.num_groups());
    found.write({inverse.data(), order.data(), offsets.data(), rows.data()});
    return results(inverse, order, offsets, rows);
  });
}

CASE(segment_sum_and_mean) {
  const std::vector<float> src = random_matrix(kPoints, 1);
  for (const bool mean : {false, true}) {
    check_same_bits([&] { return results(reduce(segments().csr(), src, mean)); });
    check_same_bits([&] { return results(reduce(long_segments().csr(), src, mean)); });
  }
}

// Points read the rows of the voxels that they lie in.
CASE(segment_mean_through_another_list) {
  const std::vector<int32_t> via = random_inverse(kPoints, 300, 5);
  const std::vector<float> src = random_matrix(300, 1);
  Csr csr = segments().csr();
  csr.via = via.data();
  check_same_bits([&] { return results(reduce(csr, src, true)); });
}

CASE(segment_max_and_min) {
  const std::vector<float> src = random_matrix(kPoints, 1);
  const std::vector<float> grad_out = random_matrix(kSegments, 2);
  const std::vector<int32_t>& inverse = segments().inverse;
  for (const auto& extreme : {cpu::segment_max<float>, cpu::segment_min<float>}) {
    check_same_bits([&] {
      std::vector<float> out(kSegments * kChannels), taken(out), grad_src(kPoints * kChannels);
      std::vector<int32_t> argmax(kSegments * kChannels);
      extreme(src.data(), kChannels, segments().csr(), out.data(), argmax.data());
      cpu::segment_max_backward(grad_out.data(), argmax.data(), inverse.data(), kPoints, kSegments,
                                kChannels, grad_src.data());
      cpu::segment_take(src.data(), argmax.data(), kPoints, kSegments, kChannels, taken.data());
      return results(out, argmax, grad_src, taken);
    });
  }
}

CASE(segment_max_and_min_of_long_segments) {
  std::vector<float> src = random_matrix(kPoints, 1);
  for (float& value : src) value = std::round(4 * value);
  for (const auto& extreme : {cpu::segment_max<float>, cpu::segment_min<float>}) {
    check_same_bits([&] {
      std::vector<float> out(kSegments * kChannels);
      std::vector<int32_t> argmax(kSegments * kChannels);
      extreme(src.data(), kChannels, long_segments().csr(), out.data(), argmax.data());
      return results(out, argmax);
    });
  }
}

// A third of the points are in no segment.
CASE(segment_softmax) {
  std::vector<int32_t> inverse = random_inverse(kPoints, kSegments);
  for (int64_t i = 0; i < kPoints; i += 3) inverse[i] = -1;
  const SegmentCase some(inverse, kSegments);
  const std::vector<float> src = random_matrix(kPoints, 1), grad_out = random_matrix(kPoints, 2);
  check_same_bits([&] {
    std::vector<float> out(kPoints * kChannels), grad_src(out), logs(kSegments * kChannels);
    cpu::segment_softmax(src.data(), kPoints, kChannels, some.csr(), out.data());
    cpu::segment_softmax_backward(grad_out.data(), out.data(), kPoints, kChannels, some.csr(),
                                  grad_src.data());
    cpu::segment_logsumexp(src.data(), kChannels, some.csr(), logs.data());
    return results(out, grad_src, logs);
  });
}

CASE(segment_mean_backward) {
  const std::vector<float> grad_out = random_matrix(kSegments, 2);
  const SegmentCase& s = segments();
  check_same_bits([&] {
    std::vector<float> grad_src(kPoints * kChannels);
    cpu::segment_mean_backward(grad_out.data(), s.inverse.data(), s.offsets.data(), kPoints,
                               kSegments, kChannels, grad_src.data());
    return results(grad_src);
  });
}

CASE(voxel_to_point) {
  const std::vector<float> features = random_matrix(kSegments, 1);
  check_same_bits([&] {
    std::vector<float> out(kPoints * kChannels);
    cpu::voxel_to_point(features.data(), segments().inverse.data(), kPoints, kSegments, kChannels,
                        out.data());
    return results(out);
  });
}

CASE(transition) {
  const SegmentCase coarse(random_inverse(kPoints, 200, 1), 200);
  const std::vector<float> src = random_matrix(kSegments, 1);
  check_same_bits([&] {
    std::vector<int32_t> offsets(201), columns(kPoints), offsets_t(kSegments + 1),
        columns_t(kPoints);
    std::vector<float> weights(kPoints), weights_t(kPoints);
    cpu::build_transition(segments().voxels(), coarse.voxels(), kPoints,
                          {offsets.data(), columns.data(), weights.data()},
                          {offsets_t.data(), columns_t.data(), weights_t.data()});
    const Csr forward{offsets.data(), columns.data(), weights.data(), 200};
    return results(offsets, columns, weights, offsets_t, columns_t, weights_t,
                   reduce(forward, src, false));
  });
}

CASE(majority_vote) {
  constexpr int64_t kVoters = 50'000;
  const SegmentCase voters(random_inverse(kVoters, kSegments), kSegments);
  for (const int64_t num_classes : {5, 1'000'000}) {
    std::vector<int64_t> labels;
    harness::Random random(1);
    for (int64_t i = 0; i < kVoters; ++i) labels.push_back(random.integer(num_classes));
    check_same_bits([&] {
      std::vector<int64_t> out(kSegments);
      CHECK(cpu::majority_vote(labels.data(), voters.csr(), num_classes, 0, out.data()) == -1);
      return results(out);
    });
  }
}
