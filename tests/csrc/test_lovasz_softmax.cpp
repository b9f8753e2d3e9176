// The CUDA kernels of lovasz_softmax against its CPU kernels, which the Python tests compare with
// the definition.
#include <cuda_runtime.h>

#include <limits>
#include <type_traits>

#include "common/error_flag.h"
#include "common/ignore_label.h"
#include "cpu/lovasz_softmax.h"
#include "cuda/lovasz_softmax.h"
#include "harness.h"

namespace {

using elite_ops::cuda::accumulate_t;
using harness::Random;

// What both devices compute on, and what they return.
template <typename scalar_t>
struct Problem {
  using accumulate = accumulate_t<scalar_t>;

  int64_t num_points, num_classes;
  std::vector<scalar_t> logits;
  std::vector<int64_t> labels;
  int64_t ignore_label = 0;
  bool only_present = true;

  Problem(int64_t points, int64_t classes, uint64_t seed = 1)
      : num_points(points), num_classes(classes) {
    Random random(seed);
    logits = random.uniform_vector<scalar_t>(points * classes, -3, 3);
    for (int64_t i = 0; i < points; ++i) labels.push_back(random.integer(classes));
  }

  struct Result {
    std::vector<accumulate> loss, grad_probabilities, grad_logits;
    int32_t errors = 0;
  };

  static constexpr accumulate kGradOut = 3;

  Result on_cuda() const {
    Result result{std::vector<accumulate>(1), std::vector<accumulate>(logits.size()), {}, 0};
    std::vector<unsigned char> workspace(
        elite_ops::cuda::lovasz_softmax_workspace_bytes<scalar_t>(num_points, num_classes));
    CHECK(elite_ops::cuda::lovasz_softmax(logits.data(), labels.data(), num_points, num_classes,
                                          ignore_label, only_present, workspace.data(),
                                          result.loss.data(), result.grad_probabilities.data(),
                                          &result.errors, nullptr) == cudaSuccess);
    std::vector<scalar_t> grad_logits(logits.size());
    CHECK(elite_ops::cuda::lovasz_softmax_backward(
              &kGradOut, logits.data(), result.grad_probabilities.data(), num_points, num_classes,
              grad_logits.data(), nullptr) == cudaSuccess);
    for (scalar_t value : grad_logits) {
      result.grad_logits.push_back(static_cast<accumulate>(value));
    }
    return result;
  }

  Result on_cpu() const {
    Result result{
        {}, std::vector<accumulate>(logits.size()), std::vector<accumulate>(logits.size()), 0};
    std::vector<accumulate> wide;
    for (scalar_t value : logits) wide.push_back(static_cast<accumulate>(value));
    result.loss = {elite_ops::cpu::lovasz_softmax(wide.data(), labels.data(), num_points,
                                                  num_classes, ignore_label, only_present,
                                                  result.grad_probabilities.data())};
    elite_ops::cpu::lovasz_softmax_backward(kGradOut, wide.data(), result.grad_probabilities.data(),
                                            num_points, num_classes, result.grad_logits.data());
    return result;
  }

  void check_devices_agree() const {
    const Result got = on_cuda(), want = on_cpu();
    const double tolerance = std::is_same_v<accumulate, double> ? 1e-13 : 2e-6;
    CHECK_CLOSE(got.loss, want.loss, tolerance);
    CHECK_CLOSE(got.grad_probabilities, want.grad_probabilities, tolerance);
    CHECK_CLOSE(got.grad_logits, want.grad_logits, sizeof(scalar_t) == 2 ? 1e-2 : tolerance);
    CHECK(got.errors == 0);
  }
};

template <typename scalar_t>
void check_sizes() {
  for (int64_t points : {1, 2, 31, 33, 257}) {
    for (int64_t classes : {1, 2, 5}) {
      for (bool only_present : {true, false}) {
        for (int64_t ignore_label : {int64_t{0}, int64_t{255}, elite_ops::kNoIgnoreLabel}) {
          Problem<scalar_t> problem(points, classes, 1 + points);
          problem.only_present = only_present;
          problem.ignore_label = ignore_label;
          problem.check_devices_agree();
        }
      }
    }
  }
}

}  // namespace

CASE(sizes_float) { check_sizes<float>(); }
CASE(sizes_double) { check_sizes<double>(); }
CASE(sizes_half) { check_sizes<__half>(); }
CASE(sizes_bfloat16) { check_sizes<__nv_bfloat16>(); }

CASE(twenty_classes) { Problem<float>(700, 20).check_devices_agree(); }

CASE(more_classes_than_threads_in_a_block) { Problem<float>(40, 300).check_devices_agree(); }

CASE(empty) {
  for (auto [points, classes] : {std::pair{0, 5}, std::pair{5, 0}, std::pair{0, 0}}) {
    CHECK(elite_ops::cuda::lovasz_softmax<float>(nullptr, nullptr, points, classes, 0, true,
                                                 nullptr, nullptr, nullptr, nullptr,
                                                 nullptr) == cudaSuccess);
    CHECK(elite_ops::cuda::lovasz_softmax_backward<float>(
              nullptr, nullptr, nullptr, points, classes, nullptr, nullptr) == cudaSuccess);
  }
}

CASE(nothing_labelled) {
  for (bool only_present : {true, false}) {
    Problem<float> problem(300, 4);
    problem.only_present = only_present;
    problem.labels.assign(300, 0);
    const auto got = problem.on_cuda();
    CHECK_EQUAL(got.loss, std::vector<float>{0});
    CHECK_EQUAL(got.grad_logits, std::vector<float>(1200, 0));
  }
}

CASE(equal_errors_stay_in_the_order_of_the_rows) {
  Problem<double> problem(300, 3);
  problem.logits.assign(900, 0.);
  problem.ignore_label = elite_ops::kNoIgnoreLabel;
  problem.check_devices_agree();
}

// The errors 0 and 1 themselves, where rows that are left out must not get in between.
CASE(certain_predictions) {
  Problem<float> problem(300, 3);
  for (size_t i = 0; i < problem.logits.size(); ++i) problem.logits[i] = i % 7 == 0 ? 1e3f : 0.f;
  problem.check_devices_agree();
}

CASE(labels_out_of_range_are_left_out_and_reported) {
  for (int64_t bad : {int64_t{-1}, int64_t{4}, int64_t{1} << 40, elite_ops::kNoIgnoreLabel}) {
    Problem<float> problem(100, 4), without(100, 4);
    problem.labels[7] = problem.labels[99] = bad;
    without.labels[7] = without.labels[99] = without.ignore_label = 17;
    problem.ignore_label = elite_ops::kNoIgnoreLabel;
    const auto got = problem.on_cuda(), want = without.on_cuda();
    CHECK(got.errors == elite_ops::kLabelOutOfRange);
    CHECK(want.errors == 0);
    CHECK_EQUAL(got.loss, want.loss);
    CHECK_EQUAL(got.grad_logits, want.grad_logits);
  }
}

CASE(nan_in_a_row_that_is_left_out_does_no_harm) {
  Problem<float> problem(100, 4);
  const auto want = problem.on_cuda();
  for (int64_t row = 0; row < 100; ++row) {
    if (problem.labels[row] == 0) problem.logits[row * 4 + 1] = std::nanf("");
  }
  const auto got = problem.on_cuda();
  CHECK_EQUAL(got.loss, want.loss);
  CHECK_EQUAL(got.grad_logits, want.grad_logits);
}

CASE(nan_in_a_labelled_row_makes_the_loss_nan) {
  for (float sign : {1.f, -1.f}) {
    Problem<float> problem(100, 4);
    problem.labels[50] = 2;
    problem.logits[50 * 4 + 3] = std::copysign(std::numeric_limits<float>::quiet_NaN(), sign);
    CHECK(std::isnan(problem.on_cuda().loss[0]));
    CHECK(std::isnan(problem.on_cpu().loss[0]));
  }
}
