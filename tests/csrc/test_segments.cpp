// The CUDA kernels of build_segments against its CPU kernel.
#include "common/error_flag.h"
#include "cuda/segments.h"
#include "segment_cases.h"

namespace {

struct OnCuda {
  std::vector<int32_t> order, offsets;
  int32_t errors = 0;

  OnCuda(const std::vector<int32_t>& inverse, int64_t num_segments)
      : order(inverse.size()), offsets(num_segments + 1, -5) {
    const auto num_points = static_cast<int64_t>(inverse.size());
    std::vector<unsigned char> workspace(
        elite_ops::cuda::build_segments_workspace_bytes(num_points));
    CHECK(elite_ops::cuda::build_segments(inverse.data(), num_points, num_segments,
                                          workspace.data(), order.data(), offsets.data(), &errors,
                                          nullptr) == cudaSuccess);
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
