#include "order_rows.h"

#include <vector>

#include "key_sort.h"
#include "parallel.h"

namespace elite_ops::cpu {
namespace {

constexpr int64_t kGrainRows = 4096;  // a table's stretch of so many rows stays in the cache

}  // namespace

void order_rows(const RowPatterns& groups, const int32_t* in_rows, int64_t num_rows, int32_t* order,
                int32_t* ordered_rows) {
  std::vector<KeyedRow> rows(num_rows);
  parallel_for(0, num_rows, kGrainRows, [&](int64_t begin, int64_t end) {
    std::vector<uint64_t> bits(end - begin);
    for (int64_t k = 0; k < groups.num_offsets; ++k) {
      const int32_t* table = in_rows + k * num_rows + begin;
      const uint64_t of_offset = groups.bits(k / groups.num_layers, k % groups.num_layers);
      for (size_t i = 0; i < bits.size(); ++i) bits[i] |= table[i] >= 0 ? of_offset : 0;
    }
    for (int64_t i = begin; i < end; ++i) {
      const auto key = static_cast<int64_t>(RowPatterns::number(bits[i - begin]));
      rows[i] = {key, static_cast<int32_t>(i)};
    }
  });
  sort_by_key(rows, int64_t{1} << groups.num_bits());
  for (int64_t i = 0; i < num_rows; ++i) order[i] = rows[i].row;
  parallel_for(0, groups.num_offsets, 1, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      for (int64_t i = 0; i < num_rows; ++i) {
        ordered_rows[k * num_rows + i] = in_rows[k * num_rows + order[i]];
      }
    }
  });
}

}  // namespace elite_ops::cpu
