// The kernels against the CPU.
#include <limits>
#include <numeric>

#include "common/error_flag.h"
#include "cpu/distillation_loss.h"
#include "cuda/distillation_loss.h"
#include "harness.h"

namespace {

using namespace elite_ops;
using cuda::accumulate_t;
using harness::Random;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The values as they are after rounding to scalar_t, in the CPU's type.
template <typename scalar_t>
std::vector<accumulate_t<scalar_t>> widened(const std::vector<scalar_t>& values) {
  std::vector<accumulate_t<scalar_t>> wide;
  for (const scalar_t v : values) wide.push_back(static_cast<accumulate_t<scalar_t>>(v));
  return wide;
}

template <typename T>
struct Result {
  T loss = -7, scale = -7;
  std::vector<T> gradient;
};

template <typename scalar_t>
struct Problem {
  using accumulate = accumulate_t<scalar_t>;
  int64_t num_rows, num_points, num_classes, terms_per_point;
  accumulate temperature = accumulate(1.5);
  std::vector<scalar_t> student, teacher;
  std::vector<int32_t> index;      // empty: row p belongs to point p
  std::vector<accumulate> weight;  // empty: 1

  // A third of the rows has no point, and every seventh point no row.
  Problem(int64_t rows, int64_t points, int64_t classes, bool with_index, bool with_weight)
      : num_rows(rows), num_points(points), num_classes(classes), terms_per_point(classes) {
    Random random(rows + points + classes);
    student = random.uniform_vector<scalar_t>(rows * classes, -4, 4);
    teacher = random.uniform_vector<scalar_t>(points * classes, -4, 4);
    for (int64_t p = 0; with_index && p < points; ++p) {
      const auto row = static_cast<int32_t>(random.integer(rows));
      index.push_back(p % 7 == 3 ? -1 : row - row % 3 % 2);
    }
    if (with_weight) weight = random.uniform_vector<accumulate>(points, 0, 2);
    for (size_t p = 0; p < weight.size(); p += 5) weight[p] = 0;
  }

  // The points by row; those without one last.
  void group(std::vector<int32_t>* order, std::vector<int32_t>* offsets) const {
    const auto has_row = [&](int32_t p) { return index[p] >= 0 && index[p] < num_rows; };
    const auto key = [&](int32_t p) { return has_row(p) ? index[p] : num_rows; };
    order->resize(num_points);
    offsets->assign(num_rows + 1, 0);
    std::iota(order->begin(), order->end(), 0);
    std::stable_sort(order->begin(), order->end(),
                     [&](int32_t a, int32_t b) { return key(a) < key(b); });
    for (int32_t p = 0; p < num_points; ++p) {
      if (has_row(p)) ++(*offsets)[index[p] + 1];
    }
    std::partial_sum(offsets->begin(), offsets->end(), offsets->begin());
  }

  template <typename T>
  static const T* data(const std::vector<T>& values) {
    return values.empty() ? nullptr : values.data();
  }

  Result<accumulate> on_cpu() const {
    const auto wide_student = widened(student), wide_teacher = widened(teacher);
    const cpu::Distillation<accumulate> in{
        wide_student.data(), wide_teacher.data(), data(index), data(weight), num_rows,
        num_points,          num_classes,         temperature};
    Result<accumulate> out;
    cpu::distillation_loss(in, terms_per_point, &out.loss, &out.scale);
    std::vector<int32_t> order, offsets;
    if (!index.empty()) group(&order, &offsets);
    out.gradient.resize(student.size());
    cpu::distillation_loss_backward(in, 3 * out.scale, data(order), data(offsets),
                                    out.gradient.data());
    return out;
  }

  Result<accumulate> on_cuda(int32_t* error_flag) const {
    const cuda::Distillation<scalar_t> in{student.data(), teacher.data(), data(index), data(weight),
                                          num_rows,       num_points,     num_classes, temperature};
    std::vector<unsigned char> workspace(cuda::distillation_loss_workspace_bytes(num_points));
    Result<accumulate> out;
    CHECK(cuda::distillation_loss(in, terms_per_point, &out.loss, &out.scale, workspace.data(),
                                  error_flag, nullptr) == cudaSuccess);
    std::vector<int32_t> order, offsets;
    if (!index.empty()) group(&order, &offsets);
    std::vector<scalar_t> gradient(student.size(), scalar_t(-7.f));
    const accumulate grad_loss = 3;
    CHECK(cuda::distillation_loss_backward(in, &grad_loss, &out.scale, data(order), data(offsets),
                                           gradient.data(), nullptr) == cudaSuccess);
    out.gradient = widened(gradient);
    return out;
  }

  void check(double tolerance, int32_t want_error = 0) const {
    int32_t error_flag = 0;
    const auto got = on_cuda(&error_flag), want = on_cpu();
    CHECK(error_flag == want_error);
    CHECK_CLOSE(std::vector{got.loss}, std::vector{want.loss}, 1e-5);
    CHECK_EQUAL(std::vector{got.scale}, std::vector{want.scale});
    CHECK_CLOSE(got.gradient, want.gradient, tolerance);
  }
};

}  // namespace

CASE(equals_cpu) {
  for (const int64_t points : {1, 31, 33, 300}) {
    for (const int64_t classes : {1, 2, 20, 32, 33, 256, 300}) {
      Problem<float>(50, points, classes, true, points % 2 == 0).check(1e-6);
    }
  }
}

CASE(equals_cpu_row_by_row) {
  for (const int64_t rows : {1, 33, 100}) {
    Problem<float>(rows, rows, 20, false, rows == 33).check(1e-6);
  }
}

CASE(equals_cpu_in_every_type) {
  Problem<double>(40, 100, 20, true, true).check(1e-13);
  Problem<__half>(40, 100, 20, true, true).check(1e-3);
  Problem<__nv_bfloat16>(40, 100, 20, true, true).check(8e-3);
}

CASE(every_reduction) {
  for (const int64_t terms : {0, 1, 20}) {
    Problem<float> problem(50, 100, 20, true, false);
    problem.terms_per_point = terms;
    problem.check(1e-4);
  }
}

CASE(all_points_in_one_row) {
  Problem<float> problem(3, 1000, 20, true, true);
  std::fill(problem.index.begin(), problem.index.end(), 1);
  problem.check(1e-5);
}

CASE(no_point_has_a_row) {
  Problem<float> problem(10, 50, 20, true, false);
  std::fill(problem.index.begin(), problem.index.end(), -1);
  int32_t error_flag = 0;
  const auto got = problem.on_cuda(&error_flag);
  CHECK(got.loss == 0 && error_flag == 0);
  CHECK_EQUAL(got.gradient, std::vector<float>(200, 0));
}

CASE(no_points_and_no_rows) {
  int32_t error_flag = 0;
  const Problem<float> no_points(4, 0, 20, false, false);
  std::vector<float> gradient(80, -7);
  const std::vector<int32_t> offsets(5, 0), order(1);
  const cuda::Distillation<float> in{
      no_points.student.data(), nullptr, nullptr, nullptr, 4, 0, 20, 1};
  const float one = 1;
  CHECK(cuda::distillation_loss(in, 20, static_cast<float*>(nullptr), static_cast<float*>(nullptr),
                                nullptr, &error_flag, nullptr) == cudaSuccess);
  CHECK(cuda::distillation_loss_backward(in, &one, &one, order.data(), offsets.data(),
                                         gradient.data(), nullptr) == cudaSuccess);
  CHECK_EQUAL(gradient, std::vector<float>(80, 0));
}

CASE(equal_logits_have_no_loss_and_no_gradient) {
  Problem<float> problem(60, 60, 20, false, false);
  problem.teacher = problem.student;
  int32_t error_flag = 0;
  const auto got = problem.on_cuda(&error_flag);
  CHECK(got.loss == 0);
  CHECK_EQUAL(got.gradient, std::vector<float>(1200, 0));
}

CASE(large_and_infinite_logits) {
  Problem<float> problem(50, 100, 20, true, true);
  for (float& logit : problem.student) logit = logit * 10 + 1e4f;
  for (float& logit : problem.teacher) logit = logit * 10 - 1e4f;
  for (size_t i = 0; i < problem.teacher.size(); i += 3) problem.teacher[i] = -kInfinity;
  problem.check(1e-5);
  CHECK(std::isfinite(problem.on_cpu().loss));
  // Where the weight is 0, infinite divergence does not matter.
  for (int64_t c = 1; c < 20; ++c) problem.student[c] = -kInfinity;
  for (int64_t p = 0; p < 100; ++p) {
    if (problem.index[p] == 0) problem.weight[p] = 0;
  }
  problem.check(1e-5);
  CHECK(std::isfinite(problem.on_cpu().loss));
}

CASE(an_index_out_of_range_has_no_row_and_is_reported) {
  for (const int32_t bad : {-2, 50, 1 << 30}) {
    Problem<float> problem(50, 100, 20, true, false);
    problem.index[40] = -1;
    const auto want = problem.on_cpu();
    problem.index[40] = bad;
    int32_t error_flag = 0;
    const auto got = problem.on_cuda(&error_flag);
    CHECK(error_flag == kIndexOutOfRange);
    CHECK_CLOSE(std::vector{got.loss}, std::vector{want.loss}, 1e-6);
    CHECK_CLOSE(got.gradient, want.gradient, 1e-6);
  }
}
