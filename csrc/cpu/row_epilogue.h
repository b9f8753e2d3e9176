// What a fused op adds to a row of sums, and how it writes one.
#pragma once

#include <algorithm>
#include <cstdint>

namespace elite_ops::cpu {

// Without a branch, so that it vectorizes; exact, since one of the two parts is zero.
template <typename T>
T leaky_relu(T x, T negative_slope) {
  return std::max(x, T(0)) + negative_slope * std::min(x, T(0));
}

// Copies a row; negative numbers times `negative_slope`, 1 for none of this.
template <typename T, typename To>
void write_leaky_relu(const T* from, int64_t channels, T negative_slope, To* to) {
  if (negative_slope == T(1)) {
    for (int64_t c = 0; c < channels; ++c) to[c] = static_cast<To>(from[c]);
    return;
  }
  for (int64_t c = 0; c < channels; ++c) {
    to[c] = static_cast<To>(leaky_relu(from[c], negative_slope));
  }
}

template <typename T>
void add_leaky_relu(const T* row, int64_t channels, T negative_slope, T* sum) {
  for (int64_t c = 0; c < channels; ++c) sum[c] += leaky_relu(row[c], negative_slope);
}

template <typename From, typename T>
void add_row(const From* row, int64_t channels, T* sum) {
  for (int64_t c = 0; c < channels; ++c) sum[c] += row[c];
}

}  // namespace elite_ops::cpu
