#include "csr_reduce.h"

#include <algorithm>

#include "csr_rows.h"
#include "prefetch.h"

namespace elite_ops::cpu {
namespace {

template <bool weighted, typename scalar_t>
void reduce_rows(const scalar_t* src, int64_t channels, const Csr& csr, bool mean, int64_t begin,
                 int64_t end, scalar_t* out) {
  const int32_t last = csr.offsets[end];
  for (int64_t v = begin; v < end; ++v) {
    const int32_t entries = csr.offsets[v + 1] - csr.offsets[v];
    scalar_t* __restrict__ sum = out + v * channels;
    std::fill_n(sum, channels, scalar_t(0));
    for (int32_t e = csr.offsets[v]; e < csr.offsets[v + 1]; ++e) {
      if (e + kPrefetchDistance < last) {
        prefetch_row(src + csr.columns[e + kPrefetchDistance] * channels, channels);
      }
      const scalar_t* __restrict__ row = src + csr.columns[e] * channels;
      if constexpr (weighted) {
        const scalar_t weight = csr.weights[e];
        for (int64_t c = 0; c < channels; ++c) sum[c] += weight * row[c];
      } else {
        for (int64_t c = 0; c < channels; ++c) sum[c] += row[c];
      }
    }
    if (mean && entries > 1) {
      for (int64_t c = 0; c < channels; ++c) sum[c] /= static_cast<scalar_t>(entries);
    }
  }
}

}  // namespace

template <typename scalar_t>
void csr_reduce(const scalar_t* src, int64_t channels, const Csr& csr, bool mean, scalar_t* out) {
  parallel_for_rows(csr.offsets, csr.rows, channels, [&](int64_t begin, int64_t end) {
    if (csr.weights != nullptr) {
      reduce_rows<true>(src, channels, csr, mean, begin, end, out);
    } else {
      reduce_rows<false>(src, channels, csr, mean, begin, end, out);
    }
  });
}

template void csr_reduce<float>(const float*, int64_t, const Csr&, bool, float*);
template void csr_reduce<double>(const double*, int64_t, const Csr&, bool, double*);

}  // namespace elite_ops::cpu
