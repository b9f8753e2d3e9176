// The CUDA kernel of majority_vote against its CPU kernel.
#include "common/error_flag.h"
#include "cpu/majority_vote.h"
#include "cuda/majority_vote.h"
#include "harness.h"
#include "segment_cases.h"

namespace {

constexpr int64_t kIgnoreLabel = -7;

std::vector<int64_t> on_cuda(const std::vector<int64_t>& labels, const SegmentCase& segments,
                             int64_t num_classes, int32_t& errors) {
  std::vector<int64_t> out(segments.num_segments(), -5);
  CHECK(elite_ops::cuda::majority_vote(labels.data(), segments.csr(), num_classes, kIgnoreLabel,
                                       out.data(), &errors, nullptr) == cudaSuccess);
  return out;
}

}  // namespace

CASE(equals_the_cpu_kernel) {
  // More classes than are counted at once, too.
  for (int64_t num_classes : {1, 4, 20, 1024, 1025, 2500, 70'000}) {
    for (const SegmentCase& segments : segment_cases()) {
      harness::Random random(1);
      std::vector<int64_t> labels(segments.num_points()), want(segments.num_segments());
      for (int64_t& label : labels) label = random.integer(num_classes);
      CHECK(elite_ops::cpu::majority_vote(labels.data(), segments.csr(), num_classes, kIgnoreLabel,
                                          want.data()) == -1);
      int32_t errors = 0;
      CHECK_EQUAL(on_cuda(labels, segments, num_classes, errors), want);
      CHECK(errors == 0);
    }
  }
}

// A vote for each of 2^31 - 1 classes can't be counted, and isn't looked for either.
CASE(classes_that_nobody_votes_for_cost_nothing) {
  constexpr int64_t kClasses = 2147483647, kLast = kClasses - 1;
  const SegmentCase segments({0, 0, 0, 0, 0, 2, 2, -1}, 3);
  const std::vector<int64_t> labels = {7, kLast, 5000, kLast, 5000, 3, kLast - 2000, 0};
  const std::vector<int64_t> want = {5000, kIgnoreLabel, 3};
  int32_t errors = 0;
  CHECK_EQUAL(on_cuda(labels, segments, kClasses, errors), want);
  CHECK(errors == 0);
  std::vector<int64_t> on_cpu(3);
  CHECK(elite_ops::cpu::majority_vote(labels.data(), segments.csr(), kClasses, kIgnoreLabel,
                                      on_cpu.data()) == -1);
  CHECK_EQUAL(on_cpu, want);
}

CASE(a_label_out_of_range_has_no_vote) {
  const SegmentCase segments({0, 0, 0, 1, -1}, 3);
  const std::vector<int64_t> labels = {int64_t{1} << 40, int64_t{1} << 40, 2, -1, 99};
  int32_t errors = 0;
  CHECK_EQUAL(on_cuda(labels, segments, 4, errors),
              (std::vector<int64_t>{2, kIgnoreLabel, kIgnoreLabel}));
  CHECK(errors == elite_ops::kLabelOutOfRange);
}

CASE(the_cpu_kernel_names_a_point_with_a_label_out_of_range) {
  const SegmentCase segments({1, 0, 0, -1}, 2);
  const std::vector<int64_t> labels = {1, 0, 4, 99};
  std::vector<int64_t> out(2);
  CHECK(elite_ops::cpu::majority_vote(labels.data(), segments.csr(), 4, 0, out.data()) == 2);
}
