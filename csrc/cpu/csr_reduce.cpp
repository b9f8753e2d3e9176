#include "csr_reduce.h"

#include <algorithm>

#include "common/num_rows.h"
#include "csr_rows.h"
#include "prefetch.h"

namespace elite_ops::cpu {
namespace {

// The row of `src` that an entry stands for, or -1.
template <bool via>
int64_t row_of(const Csr& csr, int32_t entry) {
  const int64_t column = csr.columns[entry];
  return via ? csr.via[column] : column;
}

template <bool weighted, bool via, typename scalar_t>
void reduce_rows(const scalar_t* src, int64_t channels, const Csr& csr, bool mean, int64_t begin,
                 int64_t end, scalar_t* out) {
  constexpr bool kMayBeNone = weighted || via;
  const int32_t last = csr.offsets[end];
  for (int64_t v = begin; v < end; ++v) {
    scalar_t* __restrict__ sum = out + v * channels;
    std::fill_n(sum, channels, scalar_t(0));
    int32_t count = 0;
    for (int32_t e = csr.offsets[v]; e < csr.offsets[v + 1]; ++e) {
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
    if (mean && count > 1) {
      for (int64_t c = 0; c < channels; ++c) sum[c] /= static_cast<scalar_t>(count);
    }
  }
}

}  // namespace

template <typename scalar_t>
void csr_reduce(const scalar_t* src, int64_t channels, const Csr& csr, bool mean, scalar_t* out) {
  const auto reduce = csr.weights != nullptr ? reduce_rows<true, false, scalar_t>
                      : csr.via != nullptr   ? reduce_rows<false, true, scalar_t>
                                             : reduce_rows<false, false, scalar_t>;
  const int64_t rows = true_rows(csr.num_rows, csr.rows);
  parallel_for_rows(csr.offsets, rows, channels, [&](int64_t begin, int64_t end) {
    reduce(src, channels, csr, mean, begin, end, out);
  });
}

template void csr_reduce<float>(const float*, int64_t, const Csr&, bool, float*);
template void csr_reduce<double>(const double*, int64_t, const Csr&, bool, double*);

}  // namespace elite_ops::cpu
