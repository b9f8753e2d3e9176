#include "most_likely.h"

#include <limits>

#include "parallel.h"

namespace elite_ops::cpu {
namespace {

// The first column with the largest number, in two passes: neither waits for where the largest so
// far stood.
template <typename scalar_t>
int32_t largest_column(const scalar_t* logits, int32_t columns, int32_t ignored) {
  scalar_t largest = -std::numeric_limits<scalar_t>::infinity();
  bool has_nan = false;
  for (int32_t c = 0; c < columns; ++c) {
    const bool counts = c != ignored;
    largest = counts && logits[c] > largest ? logits[c] : largest;
    has_nan |= counts && logits[c] != logits[c];
  }
  int32_t column = 0;
  for (int32_t c = columns - 1; c >= 0; --c) {
    const bool is_largest = has_nan ? logits[c] != logits[c] : logits[c] == largest;
    column = is_largest && c != ignored ? c : column;
  }
  return column;
}

}  // namespace

template <typename scalar_t>
void most_likely(const LogitRows<scalar_t>& in, int64_t* out) {
  parallel_for(0, in.rows, 1024, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const scalar_t* row = in.logits + i * in.stride;
      out[i] = in.has_label(i) ? largest_column(row, in.columns, in.ignored) : 0;
    }
  });
}

template void most_likely<float>(const LogitRows<float>&, int64_t*);
template void most_likely<double>(const LogitRows<double>&, int64_t*);

}  // namespace elite_ops::cpu
