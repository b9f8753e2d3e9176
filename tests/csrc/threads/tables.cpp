// The kernels over the tables of a kernel map.
#include "cpu/sparse_depthwise_conv.h"
#include "cpu/sparse_pool.h"
#include "table_cases.h"
#include "threads.h"

using namespace elite_ops;
using threads::check_same_bits;
using threads::results;

namespace {

constexpr int64_t kChannels = 24;

// More rows than a split of the weight's gradient has.
const TableCase& table() {
  static const TableCase of_random_rows(4000, 5000, 27, 4);
  return of_random_rows;
}

template <typename T>
std::vector<T> random_matrix(int64_t rows, uint64_t seed) {
  return harness::Random(seed).uniform_vector<T>(rows * kChannels);
}

template <typename T>
threads::Results convolved(const TableCase& table, bool in_range = true) {
  const auto features = random_matrix<T>(table.num_in, 1);
  const auto weight = random_matrix<T>(table.num_offsets, 2);
  const auto bias = random_matrix<T>(1, 3);
  const auto grad_out = random_matrix<T>(table.num_out, 4);
  std::vector<T> out(grad_out.size()), grad_weight(weight.size());
  CHECK(in_range == cpu::sparse_depthwise_conv(table.forward(), kChannels, features.data(),
                                               weight.data(), bias.data(), out.data()));
  CHECK(in_range == cpu::sparse_depthwise_conv_backward_weight(table.forward(), kChannels,
                                                               features.data(), grad_out.data(),
                                                               grad_weight.data()));
  return results(out, grad_weight);
}

template <typename T>
threads::Results pooled(const TableCase& table, bool in_range = true) {
  const auto features = random_matrix<T>(table.num_in, 1);
  const auto grad_out = random_matrix<T>(table.num_out, 2);
  std::vector<T> largest(grad_out.size()), grad_of_largest(features.size()), taken(largest.size()),
      mean(largest.size()), grad_of_mean(features.size());
  std::vector<int32_t> argmax(largest.size()), counts(table.num_out);
  CHECK(in_range == cpu::sparse_max_pool(table.forward(), kChannels, features.data(),
                                         largest.data(), argmax.data()));
  CHECK(in_range == cpu::sparse_avg_pool(table.forward(), kChannels, features.data(), mean.data(),
                                         counts.data()));
  CHECK(cpu::sparse_max_pool_backward(table.backward(), kChannels, grad_out.data(), argmax.data(),
                                      grad_of_largest.data()));
  CHECK(cpu::sparse_max_pool_take(table.num_in, table.num_out, kChannels, features.data(),
                                  argmax.data(), taken.data()));
  CHECK(cpu::sparse_avg_pool_backward(table.backward(), kChannels, grad_out.data(), counts.data(),
                                      grad_of_mean.data()));
  return results(largest, argmax, grad_of_largest, taken, mean, counts, grad_of_mean);
}

// Several threads find a row that does not exist.
TableCase with_wrong_rows(TableCase table) {
  for (size_t e = 5; e < table.in_rows.size(); e += 70) table.in_rows[e] = 4000;
  return table;
}

}  // namespace

CASE(sparse_depthwise_conv) {
  check_same_bits([] { return convolved<float>(table()); });
  check_same_bits([] { return convolved<double>(table()); });
}

CASE(sparse_pool) {
  check_same_bits([] { return pooled<float>(table()); });
  check_same_bits([] { return pooled<double>(table()); });
}

CASE(tables_with_rows_out_of_range) {
  const TableCase wrong = with_wrong_rows(table());
  check_same_bits([&] { return convolved<float>(wrong, false); });
  check_same_bits([&] { return pooled<float>(wrong, false); });
}
