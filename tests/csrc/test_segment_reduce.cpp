// The CUDA kernels of the segment reductions against the CPU kernels.
#include "cpu/csr_reduce.h"
#include "cpu/segment_reduce.h"
#include "cuda/accumulate.cuh"
#include "cuda/csr_reduce.h"
#include "cuda/segment_reduce.h"
#include "harness.h"
#include "large_array.h"
#include "segment_cases.h"

namespace {

using elite_ops::cuda::accumulate_t;

const std::vector<int64_t> kChannels = {0, 1, 3, 16, 70};

// What the CPU kernels compute on, and what is compared: rounded to scalar_t, then wide again.
template <typename scalar_t>
std::vector<accumulate_t<scalar_t>> widened(const std::vector<scalar_t>& values) {
  return {values.begin(), values.end()};
}
template <typename scalar_t>
std::vector<accumulate_t<scalar_t>> rounded(const std::vector<accumulate_t<scalar_t>>& values) {
  return widened(std::vector<scalar_t>(values.begin(), values.end()));
}

// Short rows are added up in the same order on both devices; a long one is not, and may be off by a
// unit in the last place.
template <typename scalar_t>
double tolerance_of(const SegmentCase& segments) {
  for (int64_t v = 0; v < segments.num_segments(); ++v) {
    if (segments.offsets[v + 1] - segments.offsets[v] > 16) {
      return std::is_same_v<scalar_t, double> ? 1e-14 : sizeof(scalar_t) == 4 ? 1e-5 : 1e-2;
    }
  }
  return 0;
}

template <typename scalar_t>
void check_sum_and_mean() {
  for (const SegmentCase& segments : segment_cases()) {
    for (int64_t channels : kChannels) {
      for (bool mean : {false, true}) {
        harness::Random random(3);
        const auto src = random.uniform_vector<scalar_t>(segments.num_points() * channels);
        std::vector<scalar_t> got(segments.num_segments() * channels);
        CHECK(elite_ops::cuda::csr_reduce(src.data(), channels, segments.csr(), mean, got.data(),
                                          nullptr) == cudaSuccess);
        std::vector<accumulate_t<scalar_t>> want(got.size());
        elite_ops::cpu::csr_reduce(widened(src).data(), channels, segments.csr(), mean,
                                   want.data());
        CHECK_CLOSE(widened(got), rounded<scalar_t>(want), tolerance_of<scalar_t>(segments));
      }
    }
  }
}

template <typename scalar_t>
struct Extreme {
  using accumulate = accumulate_t<scalar_t>;
  cudaError_t (*on_cuda)(const scalar_t*, int64_t, const elite_ops::Csr&, scalar_t*, int32_t*,
                         cudaStream_t);
  void (*on_cpu)(const accumulate*, int64_t, const elite_ops::Csr&, accumulate*, int32_t*);
};

// Values, points, gradients, and the gradients of these.
template <typename scalar_t>
void check_extreme(const Extreme<scalar_t>& extreme) {
  using accumulate = accumulate_t<scalar_t>;
  for (const SegmentCase& segments : segment_cases()) {
    for (int64_t channels : kChannels) {
      harness::Random random(4);
      const int64_t points = segments.num_points(), rows = segments.num_segments();
      const auto src = random.uniform_vector<scalar_t>(points * channels);
      const auto grad_out = random.uniform_vector<scalar_t>(rows * channels);
      std::vector<scalar_t> got(rows * channels), grad(points * channels), taken(rows * channels);
      std::vector<int32_t> argmax(got.size()), want_argmax(got.size());
      CHECK(extreme.on_cuda(src.data(), channels, segments.csr(), got.data(), argmax.data(),
                            nullptr) == cudaSuccess);
      CHECK(elite_ops::cuda::segment_max_backward(grad_out.data(), argmax.data(),
                                                  segments.inverse.data(), points, rows, channels,
                                                  grad.data(), nullptr) == cudaSuccess);
      CHECK(elite_ops::cuda::segment_take(src.data(), argmax.data(), points, rows, channels,
                                          taken.data(), nullptr) == cudaSuccess);
      std::vector<accumulate> want(got.size()), want_grad(grad.size()), want_taken(got.size());
      extreme.on_cpu(widened(src).data(), channels, segments.csr(), want.data(),
                     want_argmax.data());
      elite_ops::cpu::segment_max_backward(widened(grad_out).data(), want_argmax.data(),
                                           segments.inverse.data(), points, rows, channels,
                                           want_grad.data());
      elite_ops::cpu::segment_take(widened(src).data(), want_argmax.data(), points, rows, channels,
                                   want_taken.data());
      CHECK_EQUAL(widened(got), want);
      CHECK_EQUAL(argmax, want_argmax);
      CHECK_EQUAL(widened(grad), want_grad);
      CHECK_EQUAL(widened(taken), want_taken);
      CHECK_EQUAL(want_taken, want);
    }
  }
}

template <typename scalar_t>
void check_max() {
  using accumulate = accumulate_t<scalar_t>;
  check_extreme<scalar_t>(
      {elite_ops::cuda::segment_max<scalar_t>, elite_ops::cpu::segment_max<accumulate>});
  check_extreme<scalar_t>(
      {elite_ops::cuda::segment_min<scalar_t>, elite_ops::cpu::segment_min<accumulate>});
}

template <typename scalar_t>
void check_mean_backward() {
  for (const SegmentCase& segments : segment_cases()) {
    for (int64_t channels : kChannels) {
      harness::Random random(5);
      const int64_t points = segments.num_points(), rows = segments.num_segments();
      const auto grad_out = random.uniform_vector<scalar_t>(rows * channels);
      std::vector<scalar_t> got(points * channels);
      CHECK(elite_ops::cuda::segment_mean_backward(grad_out.data(), segments.inverse.data(),
                                                   segments.offsets.data(), points, rows, channels,
                                                   got.data(), nullptr) == cudaSuccess);
      std::vector<accumulate_t<scalar_t>> want(got.size());
      elite_ops::cpu::segment_mean_backward(widened(grad_out).data(), segments.inverse.data(),
                                            segments.offsets.data(), points, rows, channels,
                                            want.data());
      CHECK_EQUAL(widened(got), rounded<scalar_t>(want));
    }
  }
}

}  // namespace

CASE(sum_and_mean_float) { check_sum_and_mean<float>(); }
CASE(sum_and_mean_double) { check_sum_and_mean<double>(); }
CASE(sum_and_mean_half) { check_sum_and_mean<__half>(); }
CASE(sum_and_mean_bfloat16) { check_sum_and_mean<__nv_bfloat16>(); }
CASE(max_and_min_float) { check_max<float>(); }
CASE(max_and_min_double) { check_max<double>(); }
CASE(max_and_min_half) { check_max<__half>(); }
CASE(max_and_min_bfloat16) { check_max<__nv_bfloat16>(); }
CASE(mean_backward_float) { check_mean_backward<float>(); }
CASE(mean_backward_double) { check_mean_backward<double>(); }
CASE(mean_backward_half) { check_mean_backward<__half>(); }
CASE(mean_backward_bfloat16) { check_mean_backward<__nv_bfloat16>(); }

CASE(max_takes_nan_and_the_first_of_equals) {
  const float nan = std::nanf("");
  const std::vector<float> src = {1, 2, -5, 1, nan, -4, 0, nan, -4};
  const SegmentCase segments({0, 0, 0}, 1);
  std::vector<float> out(3);
  std::vector<int32_t> argmax(3);
  CHECK(elite_ops::cuda::segment_max(src.data(), 3, segments.csr(), out.data(), argmax.data(),
                                     nullptr) == cudaSuccess);
  CHECK(out[0] == 1 && std::isnan(out[1]) && out[2] == -4);
  CHECK_EQUAL(argmax, (std::vector<int32_t>{0, 1, 1}));
}

CASE(min_takes_nan_and_the_first_of_equals) {
  const float nan = std::nanf("");
  const std::vector<float> src = {1, 2, -5, 1, nan, -6, 3, nan, -6};
  const SegmentCase segments({0, 0, 0}, 1);
  for (const bool on_cuda : {false, true}) {
    std::vector<float> out(3);
    std::vector<int32_t> argmin(3);
    if (on_cuda) {
      CHECK(elite_ops::cuda::segment_min(src.data(), 3, segments.csr(), out.data(), argmin.data(),
                                         nullptr) == cudaSuccess);
    } else {
      elite_ops::cpu::segment_min(src.data(), 3, segments.csr(), out.data(), argmin.data());
    }
    CHECK(out[0] == 1 && std::isnan(out[1]) && out[2] == -6);
    CHECK_EQUAL(argmin, (std::vector<int32_t>{0, 1, 1}));
  }
}

// A point that isn't there is not read.
CASE(points_that_are_not_there_give_0) {
  const std::vector<float> src = {1, 2, 3, 4};
  const std::vector<int32_t> argmax = {7, -3, 1, 0};
  const std::vector<float> want = {0, 0, 3, 2};
  std::vector<float> on_cuda(4, -5), on_cpu(4, -5);
  CHECK(elite_ops::cuda::segment_take(src.data(), argmax.data(), 2, 2, 2, on_cuda.data(),
                                      nullptr) == cudaSuccess);
  elite_ops::cpu::segment_take(src.data(), argmax.data(), 2, 2, 2, on_cpu.data());
  CHECK_EQUAL(on_cuda, want);
  CHECK_EQUAL(on_cpu, want);
}

// Rows that are found via another list, where -1 is none and doesn't count; rows past the true ones
// keep what was in them. There are more rows than blocks in two cases, more than the blocks take at
// once in one, and long rows in all.
CASE(means_via_a_list_of_the_valid_rows) {
  for (const int64_t num_segments : {40, 3000, 40'000}) {
    const int64_t points = 6000, channels = 24, valid_rows = num_segments - 9;
    std::vector<int32_t> inverse = random_inverse(points, num_segments);
    for (int64_t i = 0; i < points; i += 3) inverse[i] = 7;
    const SegmentCase segments(inverse, num_segments);
    const std::vector<int32_t> via = random_inverse(points, 500, 1);
    harness::Random random(7);
    const auto src = random.uniform_vector<float>(500 * channels);
    elite_ops::Csr csr = segments.csr();
    csr.via = via.data();
    csr.num_rows = &valid_rows;
    std::vector<float> want(num_segments * channels, -5), on_cuda = want, on_cpu = want;
    for (int64_t v = 0; v < valid_rows; ++v) {
      for (int64_t c = 0; c < channels; ++c) {
        double sum = 0;
        int count = 0;
        for (int32_t e = segments.offsets[v]; e < segments.offsets[v + 1]; ++e) {
          const int32_t row = via[segments.order[e]];
          if (row < 0) continue;
          sum += src[row * channels + c];
          ++count;
        }
        want[v * channels + c] = static_cast<float>(sum / std::max(count, 1));
      }
    }
    elite_ops::cpu::csr_reduce(src.data(), channels, csr, true, on_cpu.data());
    CHECK_CLOSE(on_cpu, want, 1e-5);
    CHECK(elite_ops::cuda::csr_reduce(src.data(), channels, csr, true, on_cuda.data(), nullptr) ==
          cudaSuccess);
    CHECK_CLOSE(on_cuda, want, 1e-5);
  }
}

CASE(rows_that_are_not_aligned_are_read_one_by_one) {
  const SegmentCase segments(random_inverse(50, 9), 9);
  harness::Random random(6);
  const auto src = random.uniform_vector<float>(1 + 50 * 4);
  std::vector<float> got(9 * 4), want(9 * 4);
  CHECK(elite_ops::cuda::csr_reduce(src.data() + 1, 4, segments.csr(), false, got.data(),
                                    nullptr) == cudaSuccess);
  elite_ops::cpu::csr_reduce(src.data() + 1, 4, segments.csr(), false, want.data());
  CHECK_EQUAL(got, want);
}

// The last row begins 2^31 elements and more after the first.
CASE(offsets_past_32_bits) {
  constexpr int64_t kRows = 70'001, kManyChannels = 32'768;
  const std::vector<int32_t> offsets = {0, 2}, columns = {0, kRows - 1};
  const elite_ops::Csr csr{offsets.data(), columns.data(), nullptr, 1};
  LargeArray<float> src(kRows * kManyChannels);
  src.data()[5] = 1;
  src.data()[(kRows - 1) * kManyChannels + 5] = 2;
  std::vector<float> on_cuda(kManyChannels), on_cpu(kManyChannels), want(kManyChannels);
  want[5] = 3;
  CHECK(elite_ops::cuda::csr_reduce(src.data(), kManyChannels, csr, false, on_cuda.data(),
                                    nullptr) == cudaSuccess);
  CHECK_EQUAL(on_cuda, want);
  elite_ops::cpu::csr_reduce(src.data(), kManyChannels, csr, false, on_cpu.data());
  CHECK_EQUAL(on_cpu, want);
}
