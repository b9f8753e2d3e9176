// The CUDA kernels of the softmax over segments against the CPU kernels, and both against a loop.
#include <limits>

#include "cpu/segment_softmax.h"
#include "cuda/accumulate.cuh"
#include "cuda/segment_softmax.h"
#include "harness.h"
#include "segment_cases.h"

namespace {

using elite_ops::cuda::accumulate_t;

const std::vector<int64_t> kChannels = {0, 1, 3, 16, 70};

template <typename scalar_t>
std::vector<accumulate_t<scalar_t>> widened(const std::vector<scalar_t>& values) {
  return {values.begin(), values.end()};
}

template <typename scalar_t>
constexpr double kTolerance = std::is_same_v<scalar_t, double> ? 1e-13
                              : sizeof(scalar_t) == 4          ? 2e-6
                                                               : 1e-2;

// One case, on both: the softmax, its gradient, and the logarithms of the sums.
template <typename scalar_t>
struct Run {
  using accumulate = accumulate_t<scalar_t>;
  std::vector<scalar_t> softmax, grad, logs;
  std::vector<accumulate> cpu_softmax, cpu_grad, cpu_logs;

  Run(const std::vector<scalar_t>& src, const std::vector<scalar_t>& grad_out, int64_t channels,
      const SegmentCase& s)
      : softmax(src.size(), scalar_t(-5.f)),
        grad(softmax),
        logs(s.num_segments() * channels, scalar_t(-5.f)),
        cpu_softmax(src.size(), -5),
        cpu_grad(cpu_softmax),
        cpu_logs(logs.size(), -5) {
    namespace cuda = elite_ops::cuda;
    namespace cpu = elite_ops::cpu;
    const int64_t points = s.num_points();
    std::vector<unsigned char> workspace(
        cuda::segment_softmax_workspace_bytes<scalar_t>(s.num_segments(), channels));
    CHECK(cuda::segment_softmax(src.data(), s.inverse.data(), points, channels, s.csr(),
                                workspace.data(), softmax.data(), nullptr) == cudaSuccess);
    CHECK(cuda::segment_softmax_backward(grad_out.data(), softmax.data(), s.inverse.data(), points,
                                         channels, s.csr(), workspace.data(), grad.data(),
                                         nullptr) == cudaSuccess);
    CHECK(cuda::segment_logsumexp(src.data(), channels, s.csr(), logs.data(), nullptr) ==
          cudaSuccess);
    cpu::segment_softmax(widened(src).data(), points, channels, s.csr(), cpu_softmax.data());
    cpu::segment_softmax_backward(widened(grad_out).data(), widened(softmax).data(), points,
                                  channels, s.csr(), cpu_grad.data());
    cpu::segment_logsumexp(widened(src).data(), channels, s.csr(), cpu_logs.data());
  }
};

// Exponentials of numbers up to 1, which don't overflow.
template <typename scalar_t>
std::vector<double> plain_softmax(const std::vector<scalar_t>& src, int64_t channels,
                                  const SegmentCase& s) {
  std::vector<double> sums(s.num_segments() * channels), out(src.size());
  for (const bool divides : {false, true}) {
    for (int64_t i = 0; i < s.num_points(); ++i) {
      if (s.inverse[i] < 0) continue;
      for (int64_t c = 0; c < channels; ++c) {
        const double power = std::exp(static_cast<double>(src[i * channels + c]));
        double& sum = sums[s.inverse[i] * channels + c];
        if (divides) out[i * channels + c] = power / sum;
        if (!divides) sum += power;
      }
    }
  }
  return out;
}

template <typename scalar_t>
void check_softmax() {
  for (const SegmentCase& segments : segment_cases()) {
    for (int64_t channels : kChannels) {
      harness::Random random(3);
      const auto src = random.uniform_vector<scalar_t>(segments.num_points() * channels);
      const auto grad_out = random.uniform_vector<scalar_t>(segments.num_points() * channels);
      const Run<scalar_t> run(src, grad_out, channels, segments);
      CHECK_CLOSE(widened(run.softmax), run.cpu_softmax, kTolerance<scalar_t>);
      CHECK_CLOSE(run.cpu_softmax, plain_softmax(src, channels, segments), 1e-6);
      CHECK_CLOSE(widened(run.grad), run.cpu_grad, kTolerance<scalar_t>);
      for (size_t i = 0; i < run.logs.size(); ++i) {
        const auto got = static_cast<double>(run.logs[i]);
        const double want = run.cpu_logs[i];
        CHECK(got == want || std::fabs(got - want) <= kTolerance<scalar_t> * (1 + std::fabs(want)));
        const auto v = static_cast<int64_t>(i) / channels;
        CHECK(std::isinf(want) == (segments.offsets[v] == segments.offsets[v + 1]));
      }
    }
  }
}

}  // namespace

CASE(softmax_float) { check_softmax<float>(); }
CASE(softmax_double) { check_softmax<double>(); }
CASE(softmax_half) { check_softmax<__half>(); }
CASE(softmax_bfloat16) { check_softmax<__nv_bfloat16>(); }

CASE(huge_and_infinite_values) {
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> src = {1e30f, -inf, -inf, inf, 1e30f, 0, -inf, 1};
  const SegmentCase segments({0, 0}, 1);
  const Run<float> run(src, std::vector<float>(8, 1), 4, segments);
  for (const std::vector<float>* softmax : {&run.softmax, &run.cpu_softmax}) {
    CHECK((*softmax)[0] == 0.5f && (*softmax)[4] == 0.5f);
    CHECK((*softmax)[1] == 0 && (*softmax)[5] == 1);
    CHECK(std::isnan((*softmax)[2]) && std::isnan((*softmax)[3]));
  }
  for (const std::vector<float>* logs : {&run.logs, &run.cpu_logs}) {
    CHECK((*logs)[0] == 1e30f && (*logs)[1] == 0 && (*logs)[2] == -inf && (*logs)[3] == inf);
  }
}

CASE(points_in_no_segment_give_0) {
  const std::vector<float> nan(6, std::nanf(""));
  const Run<float> run(nan, nan, 2, SegmentCase({-1, -1, -1}, 2));
  CHECK_EQUAL(run.softmax, std::vector<float>(6));
  CHECK_EQUAL(run.cpu_softmax, std::vector<float>(6));
  CHECK_EQUAL(run.grad, std::vector<float>(6));
  CHECK_EQUAL(run.cpu_grad, std::vector<float>(6));
}
