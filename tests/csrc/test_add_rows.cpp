// The CUDA kernel of add_rows against its CPU kernel.
#include "cpu/add_rows.h"
#include "cuda/accumulate.cuh"
#include "cuda/add_rows.h"
#include "harness.h"

using namespace elite_ops;

namespace {

// Rows behind the valid ones are not written.
template <typename scalar_t>
void check_rows(int64_t rows, int64_t channels, int64_t valid) {
  using accumulate = cuda::accumulate_t<scalar_t>;
  harness::Random random(rows + channels);
  const auto x = random.uniform_vector<scalar_t>(rows * channels);
  const auto y = random.uniform_vector<scalar_t>(rows * channels, -50, 50);
  const std::vector<accumulate> wide_x(x.begin(), x.end()), wide_y(y.begin(), y.end());
  std::vector<accumulate> sums(x.size(), 7);
  std::vector<scalar_t> got(x.size(), scalar_t(7.f)), want;
  cpu::add_rows(wide_x.data(), wide_y.data(), std::min(rows, valid), channels, sums.data());
  for (const accumulate sum : sums) want.push_back(scalar_t(sum));
  CHECK(cuda::add_rows(x.data(), y.data(), rows, channels, &valid, got.data(), nullptr) ==
        cudaSuccess);
  const auto widened = [](const std::vector<scalar_t>& v) {
    return std::vector<accumulate>(v.begin(), v.end());
  };
  CHECK_EQUAL(widened(got), widened(want));
  if (valid < rows) return;
  CHECK(cuda::add_rows(x.data(), y.data(), rows, channels, nullptr, got.data(), nullptr) ==
        cudaSuccess);
  CHECK_EQUAL(widened(got), widened(want));
}

template <typename scalar_t>
void check() {
  for (int64_t rows : {0, 1, 33, 200}) {
    for (int64_t channels : {0, 1, 3, 8, 64}) {
      for (int64_t valid : {int64_t{0}, rows / 3, rows, rows + 5}) {
        check_rows<scalar_t>(rows, channels, valid);
      }
    }
  }
}

}  // namespace

CASE(equals_the_cpu_kernel_float) { check<float>(); }
CASE(equals_the_cpu_kernel_double) { check<double>(); }
CASE(equals_the_cpu_kernel_half) { check<__half>(); }
CASE(equals_the_cpu_kernel_bfloat16) { check<__nv_bfloat16>(); }

CASE(rows_that_begin_anywhere) {
  const std::vector<float> x = {9, 1, 2, 3, 4}, y = {1, 2, 3, 4}, want = {2, 4, 6, 8};
  std::vector<float> got(4);
  CHECK(cuda::add_rows(x.data() + 1, y.data(), 1, 4, nullptr, got.data(), nullptr) == cudaSuccess);
  CHECK_EQUAL(got, want);
}
