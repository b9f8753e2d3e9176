// The CUDA kernels of build_segments against its CPU kernel.
#include "common/error_flag.h"
#include "cuda/segments.h"
#include "harness.h"
#include "segment_cases.h"

namespace {

using elite_ops::SegmentInput;

// The lists of all inputs, one behind the other.
struct OnCuda {
  std::vector<int32_t> order, offsets;
  int32_t errors = 0;

  explicit OnCuda(const std::vector<SegmentInput>& inputs) {
    int64_t num_points = 0, num_offsets = 0;
    for (const SegmentInput& input : inputs) {
      num_points += input.num_points;
      num_offsets += input.num_segments + 1;
    }
    order.assign(num_points, -5);
    offsets.assign(num_offsets, -5);
    std::vector<unsigned char> workspace(
        elite_ops::cuda::build_segments_workspace_bytes(num_points));
    CHECK(elite_ops::cuda::build_segments(inputs.data(), static_cast<int>(inputs.size()),
                                          workspace.data(), order.data(), offsets.data(), &errors,
                                          nullptr) == cudaSuccess);
  }
  OnCuda(const std::vector<int32_t>& inverse, int64_t num_segments)
      : OnCuda({SegmentInput{inverse.data(), static_cast<int64_t>(inverse.size()), num_segments}}) {
  }
};

struct FromCsr {
  std::vector<int32_t> inverse, order, offsets;
  int32_t errors = 0;

  FromCsr(const std::vector<int64_t>& csr_offsets, int64_t num_points)
      : inverse(num_points, -5), order(num_points, -5), offsets(csr_offsets.size(), -5) {
    int32_t is_bad = -5;
    CHECK(elite_ops::cuda::segments_from_csr(
              csr_offsets.data(), num_points, static_cast<int64_t>(csr_offsets.size()) - 1, &is_bad,
              inverse.data(), order.data(), offsets.data(), &errors, nullptr) == cudaSuccess);
  }
};

}  // namespace

CASE(equals_the_cpu_kernel) {
  for (const SegmentCase& expected : segment_cases()) {
    const OnCuda got(expected.inverse, expected.num_segments());
    CHECK_EQUAL(got.order, expected.order);
    CHECK_EQUAL(got.offsets, expected.offsets);
    CHECK(got.errors == 0);
  }
}

// docs/kernels.md states this number.
CASE(several_lists_come_from_one_sort_in_three_calls) {
  const std::vector<SegmentCase> cases = segment_cases();
  std::vector<SegmentInput> inputs;
  std::vector<int32_t> order, offsets;
  for (const SegmentCase& c : cases) {
    inputs.push_back({c.inverse.data(), c.num_points(), c.num_segments()});
    order.insert(order.end(), c.order.begin(), c.order.end());
    offsets.insert(offsets.end(), c.offsets.begin(), c.offsets.end());
  }
  const int64_t before = emulation::num_enqueued;
  const OnCuda got(inputs);
  CHECK(emulation::num_enqueued - before == 3);
  CHECK_EQUAL(got.order, order);
  CHECK_EQUAL(got.offsets, offsets);
  CHECK(got.errors == 0);
}

CASE(leaves_out_segments_out_of_range) {
  const OnCuda got({0, 3, 1, -2, 1, -1, 0}, 3);
  CHECK_EQUAL(got.order, (std::vector<int32_t>{0, 6, 2, 4, 1, 3, 5}));
  CHECK_EQUAL(got.offsets, (std::vector<int32_t>{0, 2, 4, 4}));
  CHECK(got.errors == elite_ops::kIndexOutOfRange);
}

CASE(the_cpu_kernel_names_the_first_segment_out_of_range) {
  const std::vector<int32_t> inverse = {0, 2, 3, -2};
  std::vector<int32_t> order(4), offsets(4);
  CHECK(elite_ops::cpu::build_segments(inverse.data(), 4, 3, order.data(), offsets.data()) == 2);
}

// Segments that are neighbours, some of them empty, and points behind the last one.
CASE(from_csr_equals_build_segments_on_both) {
  const std::vector<std::vector<int64_t>> all_offsets = {
      {0}, {0, 0}, {0, 7}, {0, 0, 3, 3, 3, 40, 40}, {0, 300, 301, 301, 700}};
  for (const std::vector<int64_t>& csr_offsets : all_offsets) {
    for (const int64_t more : {0, 3, 500}) {
      const int64_t num_points = csr_offsets.back() + more;
      const auto num_segments = static_cast<int64_t>(csr_offsets.size()) - 1;
      std::vector<int32_t> inverse(num_points, -1);
      for (int64_t v = 0; v < num_segments; ++v) {
        for (int64_t i = csr_offsets[v]; i < csr_offsets[v + 1]; ++i) inverse[i] = v;
      }
      const SegmentCase expected(inverse, num_segments);
      const FromCsr got(csr_offsets, num_points);
      CHECK_EQUAL(got.inverse, inverse);
      CHECK_EQUAL(got.order, expected.order);
      CHECK_EQUAL(got.offsets, expected.offsets);
      CHECK(got.errors == 0);
      FromCsr on_cpu = got;
      CHECK(elite_ops::cpu::segments_from_csr(csr_offsets.data(), num_points, num_segments,
                                              on_cpu.inverse.data(), on_cpu.order.data(),
                                              on_cpu.offsets.data()) == -1);
      CHECK_EQUAL(on_cpu.inverse, inverse);
      CHECK_EQUAL(on_cpu.order, expected.order);
      CHECK_EQUAL(on_cpu.offsets, expected.offsets);
    }
  }
}

CASE(bad_offsets_leave_no_segments) {
  const std::vector<std::pair<std::vector<int64_t>, int64_t>> cases = {
      {{1, 2, 3}, 0},
      {{0, 3, 2}, 2},
      {{0, 2, 10}, 2},
      {{0, -1, 3}, 1},
      {{0, int64_t{1} << 33, int64_t{1} << 33}, 1}};
  for (const auto& [csr_offsets, bad] : cases) {
    const FromCsr got(csr_offsets, 9);
    CHECK(got.errors == elite_ops::kIndexOutOfRange);
    CHECK_EQUAL(got.inverse, std::vector<int32_t>(9, -1));
    CHECK_EQUAL(got.order, (std::vector<int32_t>{0, 1, 2, 3, 4, 5, 6, 7, 8}));
    CHECK_EQUAL(got.offsets, std::vector<int32_t>(3, 0));
    FromCsr on_cpu = got;
    CHECK(elite_ops::cpu::segments_from_csr(csr_offsets.data(), 9, 2, on_cpu.inverse.data(),
                                            on_cpu.order.data(), on_cpu.offsets.data()) == bad);
  }
}
