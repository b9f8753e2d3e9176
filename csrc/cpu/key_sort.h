// A stable sort of (key, row) pairs by their keys.
#pragma once

#include <cstdint>
#include <vector>

namespace elite_ops::cpu {

struct KeyedRow {
  int64_t key;
  int32_t row;
};

// Sorts by keys in [0, key_end); equal keys keep their order.
void sort_by_key(std::vector<KeyedRow>& rows, int64_t key_end);

}  // namespace elite_ops::cpu
