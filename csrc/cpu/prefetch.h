// Requests rows that lie anywhere in memory before they are needed.
#pragma once

#include <cstdint>

namespace elite_ops::cpu {

// How many entries of an index list to look ahead.
constexpr int64_t kPrefetchDistance = 8;

// Always inlined: GCC drops calls of a function that does nothing else.
template <typename scalar_t>
__attribute__((always_inline)) inline void prefetch_row(const scalar_t* row, int64_t channels) {
  constexpr int64_t kCacheLine = 64 / sizeof(scalar_t);
  for (int64_t c = 0; c < channels; c += kCacheLine) __builtin_prefetch(row + c);
}

}  // namespace elite_ops::cpu
