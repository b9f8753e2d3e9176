// The losses, labels and sums, and the counts behind the metric: kernels on rows.
#include "cpu/add_rows.h"
#include "cpu/confusion_matrix.h"
#include "cpu/distillation_loss.h"
#include "cpu/lovasz_softmax.h"
#include "cpu/most_likely.h"
#include "segment_cases.h"
#include "threads.h"

using namespace elite_ops;
using threads::check_same_bits;
using threads::results;

namespace {

constexpr int64_t kPoints = 5000, kClasses = 20;

std::vector<int64_t> random_labels(int64_t size, uint64_t seed) {
  harness::Random random(seed);
  std::vector<int64_t> labels;
  for (int64_t i = 0; i < size; ++i) labels.push_back(random.integer(kClasses));
  return labels;
}

std::vector<float> random_logits(int64_t rows, uint64_t seed) {
  return harness::Random(seed).uniform_vector<float>(rows * kClasses, -4, 4);
}

}  // namespace

CASE(add_rows) {
  constexpr int64_t kRows = 20'000;
  const std::vector<float> x = random_logits(kRows, 1), y = random_logits(kRows, 2);
  check_same_bits([&] {
    std::vector<float> out(x.size());
    cpu::add_rows(x.data(), y.data(), kRows - 5, kClasses, out.data());
    return results(out);
  });
}

CASE(confusion_matrix) {
  constexpr int64_t kRows = 50'000;
  const std::vector<int64_t> target = random_labels(kRows, 1);
  std::vector<int64_t> prediction = random_labels(kRows, 2);
  // The second time with labels that don't exist, in two ranges: the first is named.
  for (const int64_t first_bad : {-1, 17'000}) {
    if (first_bad >= 0) prediction[first_bad] = prediction[40'000] = kClasses;
    check_same_bits([&] {
      std::vector<int64_t> matrix(kClasses * kClasses);
      CHECK(cpu::confusion_matrix(prediction.data(), target.data(), kRows, kClasses,
                                  matrix.data()) == first_bad);
      if (first_bad >= 0) matrix.clear();
      return results(matrix, std::vector<int64_t>{first_bad});
    });
  }
}

CASE(distillation_loss) {
  const SegmentCase rows(random_inverse(kPoints, 1500), 1500);
  const std::vector<float> teacher = random_logits(kPoints, 1);
  const std::vector<float> weight = harness::Random(2).uniform_vector<float>(kPoints, 0, 2);
  for (const bool is_indexed : {false, true}) {
    const int64_t num_rows = is_indexed ? 1500 : kPoints;
    const std::vector<float> student = random_logits(num_rows, 3);
    const cpu::Distillation<float> in{student.data(),
                                      teacher.data(),
                                      is_indexed ? rows.inverse.data() : nullptr,
                                      weight.data(),
                                      num_rows,
                                      kPoints,
                                      kClasses,
                                      1.5f};
    check_same_bits([&] {
      std::vector<float> loss(1), scale(1), grad(num_rows * kClasses);
      cpu::distillation_loss(in, kClasses, loss.data(), scale.data());
      cpu::distillation_loss_backward(in, 0.5f, is_indexed ? rows.order.data() : nullptr,
                                      is_indexed ? rows.offsets.data() : nullptr, grad.data());
      return results(loss, scale, grad);
    });
  }
}

CASE(most_likely) {
  const std::vector<float> logits = random_logits(kPoints, 1);
  std::vector<int32_t> row_numbers;
  for (int32_t i = 0; i < kPoints; ++i) row_numbers.push_back(i % 5 - 1);
  const LogitRows<float> in{logits.data(), kPoints,           kClasses, kClasses, 0,
                            nullptr,       row_numbers.data()};
  check_same_bits([&] {
    std::vector<int64_t> out(kPoints);
    cpu::most_likely(in, out.data());
    return results(out);
  });
}

CASE(lovasz_softmax) {
  const std::vector<float> logits = random_logits(kPoints, 1);
  const std::vector<int64_t> labels = random_labels(kPoints, 2);
  check_same_bits([&] {
    std::vector<float> of_probabilities(kClasses * kPoints), grad(kPoints * kClasses);
    const float loss = cpu::lovasz_softmax(logits.data(), labels.data(), kPoints, kClasses, 0,
                                           false, of_probabilities.data());
    cpu::lovasz_softmax_backward(0.5f, logits.data(), of_probabilities.data(), kPoints, kClasses,
                                 grad.data());
    return results(std::vector<float>{loss}, of_probabilities, grad);
  });
}
