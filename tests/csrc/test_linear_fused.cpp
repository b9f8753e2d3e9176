// The CPU kernel against a plain loop. On CUDA the op is composed of torch's products and gathers.
#include "cpu/linear_fused.h"
#include "harness.h"

using namespace elite_ops::cpu;

namespace {

constexpr int64_t kNumIn = 11;

std::vector<int32_t> random_rows(harness::Random& random, int64_t size) {
  std::vector<int32_t> rows(size);
  for (int32_t& row : rows) row = static_cast<int32_t>(random.integer(kNumIn + 1) - 1);
  return rows;
}

double plain_element(const LinearShape& shape, const GatheredRows<double>& from,
                     const std::vector<double>& weight, int64_t i, int64_t column) {
  if (from.rows[i] < 0) return 0;
  double sum = 0;
  for (int64_t c = 0; c < shape.c_in; ++c) {
    sum += from.data[from.rows[i] * shape.c_in + c] * weight[c * shape.c_out + column];
  }
  return sum;
}

void check_against_plain_loop(int64_t num_out, int64_t c_in, int64_t c_out) {
  harness::Random random(num_out + c_in + c_out);
  const LinearShape shape{num_out, c_in, c_out};
  const auto features = random.uniform_vector<double>(kNumIn * c_in);
  const auto weight = random.uniform_vector<double>(c_in * c_out);
  const auto bias = random.uniform_vector<double>(c_out);
  const auto plain = random.uniform_vector<double>(num_out * c_out);
  const auto coarse = random.uniform_vector<double>(kNumIn * c_out);
  const auto rows = random_rows(random, num_out), coarse_rows = random_rows(random, num_out);
  const GatheredRows<double> input{features.data(), rows.data(), kNumIn};
  std::vector<double> out(num_out * c_out), want(num_out * c_out);
  CHECK(linear_fused<double>(
      shape, input, weight.data(), bias.data(),
      {{plain.data(), nullptr, num_out}, {coarse.data(), coarse_rows.data(), kNumIn}}, 0.1,
      out.data()));
  for (int64_t i = 0; i < num_out; ++i) {
    for (int64_t column = 0; column < c_out; ++column) {
      double sum = bias[column] + plain[i * c_out + column];
      if (coarse_rows[i] >= 0) sum += coarse[coarse_rows[i] * c_out + column];
      sum += plain_element(shape, input, weight, i, column);
      want[i * c_out + column] = sum > 0 ? sum : 0.1 * sum;
    }
  }
  CHECK_CLOSE(out, want, 1e-12);
}

}  // namespace

CASE(equals_a_plain_loop) {
  for (const int64_t num_out : {0, 1, 5, 6, 23, 24, 25, 1000}) {
    check_against_plain_loop(num_out, 7, 20);
    check_against_plain_loop(num_out, 64, 33);
  }
}

CASE(rows_that_do_not_exist_are_reported_and_add_nothing) {
  const std::vector<float> features{1, 2}, weight{1}, residual{10};
  const std::vector<int32_t> rows{2, 1, -2}, residual_rows{0, 1, 0};
  std::vector<float> out(3);
  CHECK(!linear_fused<float>({3, 1, 1}, {features.data(), rows.data(), 2}, weight.data(), nullptr,
                             {{residual.data(), residual_rows.data(), 1}}, 1.f, out.data()));
  CHECK_EQUAL(out, (std::vector<float>{10, 2, 10}));
}
