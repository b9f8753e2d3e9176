// The CUDA kernels of the transition, built and applied, against the CPU kernels.
#include "cpu/csr_reduce.h"
#include "cpu/transition.h"
#include "cuda/csr_reduce.h"
#include "cuda/transition.h"
#include "harness.h"
#include "segment_cases.h"

namespace {

struct Matrix {
  std::vector<int32_t> offsets, columns;
  std::vector<float> weights;

  Matrix(int64_t rows, int64_t capacity)
      : offsets(rows + 1, -5), columns(capacity, -5), weights(capacity, -5.f) {}
  elite_ops::CsrOutput output() { return {offsets.data(), columns.data(), weights.data()}; }
  elite_ops::Csr csr() const {
    return {offsets.data(), columns.data(), weights.data(),
            static_cast<int64_t>(offsets.size()) - 1};
  }
};

struct Operator {
  Matrix forward, transposed;

  Operator(const SegmentCase& fine, const SegmentCase& coarse)
      : forward(coarse.num_segments(), fine.num_points()),
        transposed(fine.num_segments(), fine.num_points()) {}
};

Operator on_cuda(const SegmentCase& fine, const SegmentCase& coarse) {
  Operator result(fine, coarse);
  std::vector<unsigned char> workspace(elite_ops::cuda::build_transition_workspace_bytes(
      fine.num_points(), fine.num_segments(), coarse.num_segments()));
  CHECK(elite_ops::cuda::build_transition(fine.voxels(), coarse.voxels(), fine.num_points(),
                                          workspace.data(), result.forward.output(),
                                          result.transposed.output(), nullptr) == cudaSuccess);
  return result;
}

Operator on_cpu(const SegmentCase& fine, const SegmentCase& coarse) {
  Operator result(fine, coarse);
  elite_ops::cpu::build_transition(fine.voxels(), coarse.voxels(), fine.num_points(),
                                   result.forward.output(), result.transposed.output());
  return result;
}

void check_equal(const Matrix& got, const Matrix& want) {
  CHECK_EQUAL(got.offsets, want.offsets);
  CHECK_EQUAL(got.columns, want.columns);
  CHECK_EQUAL(got.weights, want.weights);
}

// Applied to random features, on both devices; they add up the products of long rows in another
// order.
void check_applied(const Matrix& matrix, int64_t num_columns) {
  constexpr int64_t kChannels = 20;
  harness::Random random(2);
  const auto features = random.uniform_vector<float>(num_columns * kChannels);
  std::vector<float> got(matrix.csr().rows * kChannels), want(got.size());
  CHECK(elite_ops::cuda::csr_reduce(features.data(), kChannels, matrix.csr(), false, got.data(),
                                    nullptr) == cudaSuccess);
  elite_ops::cpu::csr_reduce(features.data(), kChannels, matrix.csr(), false, want.data());
  CHECK_CLOSE(got, want, 1e-6);
}

void check(const SegmentCase& fine, const SegmentCase& coarse) {
  const Operator got = on_cuda(fine, coarse), want = on_cpu(fine, coarse);
  check_equal(got.forward, want.forward);
  check_equal(got.transposed, want.transposed);
  check_applied(got.forward, fine.num_segments());
  check_applied(got.transposed, coarse.num_segments());
}

}  // namespace

CASE(equals_the_cpu_kernel) {
  for (const SegmentCase& fine : segment_cases()) {
    const int64_t num_coarse = (fine.num_segments() + 3) / 4;
    check(fine, {random_inverse(fine.num_points(), num_coarse, 1), num_coarse});
  }
}

CASE(all_points_in_one_coarse_voxel) {
  check({random_inverse(500, 60), 60}, {std::vector<int32_t>(500, 0), 1});
}

CASE(no_point_counts_in_both) { check({{0, 1, -1, -1}, 2}, {{-1, -1, 0, 1}, 2}); }

CASE(voxels_without_points) { check({random_inverse(90, 10), 700}, {random_inverse(90, 4), 300}); }
