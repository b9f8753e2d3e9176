// The CUDA kernels of order_rows, and its CPU kernel, against a stable sort of each row's bits.
#include "cpu/order_rows.h"
#include "cuda/order_rows.h"
#include "harness.h"

using namespace elite_ops;

namespace {

struct Result {
  std::vector<int32_t> order, ordered_rows;
};

// Word number n of the Gray code is n ^ (n >> 1); this finds the n of a word by trying all.
uint64_t place_in_gray_code(uint64_t word) {
  uint64_t n = 0;
  while ((n ^ (n >> 1)) != word) ++n;
  return n;
}

Result by_sort(const RowPatterns& groups, const std::vector<int32_t>& in_rows, int64_t num_rows) {
  std::vector<std::pair<uint64_t, int32_t>> rows;
  for (int64_t i = 0; i < num_rows; ++i) {
    uint64_t word = 0;
    for (int64_t k = 0; k < groups.num_offsets; ++k) {
      if (in_rows[k * num_rows + i] < 0) continue;
      word |= uint64_t{1} << (k % groups.num_layers);
      word |= uint64_t{1} << (groups.num_layers + k / groups.num_layers);
    }
    rows.emplace_back(place_in_gray_code(word), static_cast<int32_t>(i));
  }
  std::sort(rows.begin(), rows.end());
  Result result;
  for (const auto& row : rows) result.order.push_back(row.second);
  for (int64_t k = 0; k < groups.num_offsets; ++k) {
    for (const int32_t i : result.order) result.ordered_rows.push_back(in_rows[k * num_rows + i]);
  }
  return result;
}

void check(const RowPatterns& groups, int64_t num_rows, float density) {
  harness::Random random(num_rows);
  std::vector<int32_t> in_rows(groups.num_offsets * num_rows, -1);
  for (int32_t& row : in_rows) {
    if (random.uniform(0, 1) < density) row = static_cast<int32_t>(random.integer(num_rows));
  }
  const Result want = by_sort(groups, in_rows, num_rows);

  Result got{std::vector<int32_t>(num_rows, -7), std::vector<int32_t>(in_rows.size(), -7)};
  std::vector<unsigned char> workspace(cuda::order_rows_workspace_bytes(num_rows), 0xCD);
  CHECK(cuda::order_rows(groups, in_rows.data(), num_rows, workspace.data(), got.order.data(),
                         got.ordered_rows.data(), nullptr) == cudaSuccess);
  CHECK_EQUAL(got.order, want.order);
  CHECK_EQUAL(got.ordered_rows, want.ordered_rows);

  got = {std::vector<int32_t>(num_rows, -7), std::vector<int32_t>(in_rows.size(), -7)};
  cpu::order_rows(groups, in_rows.data(), num_rows, got.order.data(), got.ordered_rows.data());
  CHECK_EQUAL(got.order, want.order);
  CHECK_EQUAL(got.ordered_rows, want.ordered_rows);
}

}  // namespace

CASE(sizes_around_a_warp_and_a_block) {
  for (const int64_t num_rows : {0, 1, 31, 33, 257, 1023}) check({27, 3}, num_rows, 0.1f);
}

CASE(kernels_of_other_shapes) {
  for (const RowPatterns& groups : {RowPatterns{1, 1}, {9, 1}, {9, 9}, {15, 5}, {35, 7}}) {
    check(groups, 200, 0.1f);
  }
}

CASE(rows_that_meet_nothing_or_everything) {
  check({27, 3}, 300, 0.f);
  check({27, 3}, 300, 1.f);
}

CASE(the_largest_kernel_fits_in_a_key) {
  const RowPatterns groups{343, 7};
  CHECK(groups.num_bits() == 56);
  const uint64_t number =
      RowPatterns::number(groups.bits(342 / groups.num_layers, 342 % groups.num_layers));
  CHECK((number ^ (number >> 1)) == groups.bits(342 / groups.num_layers, 342 % groups.num_layers));
}
