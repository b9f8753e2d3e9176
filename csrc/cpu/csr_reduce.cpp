#include "csr_reduce.h"

#include <algorithm>
#include <vector>

#include "common/num_rows.h"
#include "prefetch.h"
#include "row_pieces.h"

namespace elite_ops::cpu {
namespace {

// The row of `src` that an entry stands for, or -1.
template <bool via>
int64_t row_of(const Csr& csr, int32_t entry) {
  const int64_t column = csr.columns[entry];
  return via ? csr.via[column] : column;
}

// Adds up the entries [begin, end), of which the thread goes on to `last`. Returns how many stand
// for a row.
template <bool weighted, bool via, typename scalar_t>
int32_t reduce_entries(const scalar_t* src, int64_t channels, const Csr& csr, int32_t begin,
                       int32_t end, int32_t last, scalar_t* __restrict__ sum) {
  constexpr bool kMayBeNone = weighted || via;
  std::fill_n(sum, channels, scalar_t(0));
  int32_t count = 0;
  for (int32_t e = begin; e < end; ++e) {
    if (e + kPrefetchDistance < last) {
      const int64_t later = row_of<via>(csr, e + kPrefetchDistance);
      if (!kMayBeNone || later >= 0) prefetch_row(src + later * channels, channels);
    }
    const int64_t place = row_of<via>(csr, e);
    if (kMayBeNone && place < 0) continue;
    ++count;
    const scalar_t* __restrict__ row = src + place * channels;
    if constexpr (weighted) {
      const scalar_t weight = csr.weights[e];
      for (int64_t c = 0; c < channels; ++c) sum[c] += weight * row[c];
    } else {
      for (int64_t c = 0; c < channels; ++c) sum[c] += row[c];
    }
  }
  return count;
}

template <typename scalar_t>
void divide(scalar_t* __restrict__ sum, int64_t channels, int32_t count) {
  if (count < 2) return;
  for (int64_t c = 0; c < channels; ++c) sum[c] /= static_cast<scalar_t>(count);
}

template <bool weighted, bool via, typename scalar_t>
void reduce(const scalar_t* src, int64_t channels, const Csr& csr, bool mean, scalar_t* out) {
  const RowPieces pieces(csr.offsets, valid_rows(csr.num_rows, csr.rows));
  std::vector<scalar_t> sums(pieces.size() * channels);
  std::vector<int32_t> counts(pieces.size());
  const auto add = [&](int32_t begin, int32_t end, int32_t last, scalar_t* sum) {
    return reduce_entries<weighted, via>(src, channels, csr, begin, end, last, sum);
  };
  const auto of_rows = [&](int64_t begin, int64_t end) {
    for (int64_t v = begin; v < end; ++v) {
      scalar_t* sum = out + v * channels;
      const int32_t count = add(csr.offsets[v], csr.offsets[v + 1], csr.offsets[end], sum);
      if (mean) divide(sum, channels, count);
    }
  };
  const auto of_pieces = [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      counts[p] = add(pieces[p].begin, pieces[p].end, pieces[p].end, &sums[p * channels]);
    }
  };
  pieces.parallel_for(channels, of_rows, of_pieces);
  pieces.for_each_row([&](int64_t begin, int64_t end) {
    scalar_t* sum = out + pieces[begin].row * channels;
    int32_t count = 0;
    std::fill_n(sum, channels, scalar_t(0));
    for (int64_t p = begin; p < end; ++p) {
      for (int64_t c = 0; c < channels; ++c) sum[c] += sums[p * channels + c];
      count += counts[p];
    }
    if (mean) divide(sum, channels, count);
  });
}

}  // namespace

template <typename scalar_t>
void csr_reduce(const scalar_t* src, int64_t channels, const Csr& csr, bool mean, scalar_t* out) {
  const auto reduce_kind = csr.weights != nullptr ? reduce<true, false, scalar_t>
                           : csr.via != nullptr   ? reduce<false, true, scalar_t>
                                                  : reduce<false, false, scalar_t>;
  reduce_kind(src, channels, csr, mean, out);
}

template void csr_reduce<float>(const float*, int64_t, const Csr&, bool, float*);
template void csr_reduce<double>(const double*, int64_t, const Csr&, bool, double*);

}  // namespace elite_ops::cpu
