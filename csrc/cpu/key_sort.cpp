#include "key_sort.h"

#include <array>

namespace elite_ops::cpu {

void sort_by_key(std::vector<KeyedRow>& rows, int64_t key_end) {
  constexpr int kDigitBits = 11;  // 2048 counters stay in the first-level cache
  std::vector<KeyedRow> sorted(rows.size());
  for (int shift = 0; shift < 63 && (key_end - 1) >> shift > 0; shift += kDigitBits) {
    std::array<int64_t, 1 << kDigitBits> next{};
    const auto digit = [shift](int64_t key) { return key >> shift & ((1 << kDigitBits) - 1); };
    for (const KeyedRow& r : rows) ++next[digit(r.key)];
    int64_t begin = 0;
    for (int64_t& n : next) {
      const int64_t count = n;
      n = begin;
      begin += count;
    }
    for (const KeyedRow& r : rows) sorted[next[digit(r.key)]++] = r;
    rows.swap(sorted);
  }
}

}  // namespace elite_ops::cpu
