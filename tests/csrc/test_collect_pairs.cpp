// Every variant that this processor can run, against a plain loop.
#include "cpu/collect_pairs.h"
#include "harness.h"

using namespace elite_ops::cpu;

namespace {

constexpr int64_t kNumIn = 100;

// `one_in` entries hold one valid row; 0: none do.
std::vector<int32_t> random_neighbors(int64_t size, int64_t one_in) {
  harness::Random random(size * 10 + one_in);
  std::vector<int32_t> neighbors(size, -1);
  for (int32_t& row : neighbors) {
    if (one_in > 0 && random.integer(one_in) == 0)
      row = static_cast<int32_t>(random.integer(kNumIn));
  }
  return neighbors;
}

void check_variant(CollectPairsFunction collect, const std::vector<int32_t>& neighbors,
                   bool want_in_range) {
  std::vector<int32_t> want_in, want_out;
  for (size_t i = 0; i < neighbors.size(); ++i) {
    if (neighbors[i] < 0 || neighbors[i] >= kNumIn) continue;
    want_in.push_back(neighbors[i]);
    want_out.push_back(static_cast<int32_t>(i));
  }
  const int64_t size = static_cast<int64_t>(neighbors.size());
  std::vector<int32_t> rows_in(size + kPairSlack), rows_out(size + kPairSlack);
  bool in_range = true;
  const int64_t count =
      collect({neighbors.data(), size, kNumIn, rows_in.data(), rows_out.data()}, in_range);
  rows_in.resize(count);
  rows_out.resize(count);
  CHECK(in_range == want_in_range);
  CHECK_EQUAL(rows_in, want_in);
  CHECK_EQUAL(rows_out, want_out);
}

}  // namespace

CASE(variants_equal_a_plain_loop) {
  for (const CollectPairsVariant& variant : collect_pairs_variants()) {
    std::printf("  %s\n", variant.name);
    for (const int64_t size : {0, 1, 15, 16, 17, 48, 333}) {
      for (const int64_t one_in : {0, 1, 3}) {
        check_variant(variant.function, random_neighbors(size, one_in), true);
      }
    }
  }
}

CASE(variants_report_rows_that_do_not_exist) {
  for (const CollectPairsVariant& variant : collect_pairs_variants()) {
    for (const int64_t place : {0, 15, 16, 39}) {
      for (const int32_t row : {-2, 100, INT32_MIN, INT32_MAX}) {
        auto neighbors = random_neighbors(40, 2);
        neighbors[place] = row;
        check_variant(variant.function, neighbors, false);
      }
    }
  }
}
