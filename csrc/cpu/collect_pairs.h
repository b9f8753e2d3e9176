// The pairs of rows that meet under one offset, read from the neighbour table.
#pragma once

#include <cstdint>
#include <vector>

namespace elite_ops::cpu {

// A variant may write as many entries behind the last pair.
constexpr int64_t kPairSlack = 16;

// The entries of one offset, and where their pairs go. Both lists need room for `size` entries and
// kPairSlack more.
struct PairList {
  const int32_t* neighbors;  // [size]
  int64_t size;
  int64_t num_in;     // valid entries are below
  int32_t* rows_in;   // the input row of each pair
  int32_t* rows_out;  // its place in `neighbors`
};

// Writes the pairs of the valid entries, in order. Returns how many there are; clears `in_range`
// when an entry is outside [-1, num_in).
using CollectPairsFunction = int64_t (*)(const PairList&, bool& in_range);

struct CollectPairsVariant {
  const char* name;
  CollectPairsFunction function;
};

// The variants that this processor can run, the fastest first. Never empty.
const std::vector<CollectPairsVariant>& collect_pairs_variants();

}  // namespace elite_ops::cpu
