#include "collect_pairs.h"

#include "x86.h"

namespace elite_ops::cpu {
namespace {

// Entries from `first` on, behind `count` pairs. Without branches: whether a voxel has a neighbour
// is unpredictable.
int64_t collect_from(const PairList& list, int64_t first, int64_t count, bool& in_range) {
  uint32_t outside = 0;
  for (int64_t i = first; i < list.size; ++i) {
    const int32_t row = list.neighbors[i];
    const uint32_t is_valid = static_cast<uint32_t>(row) < static_cast<uint32_t>(list.num_in);
    list.rows_in[count] = row;
    list.rows_out[count] = static_cast<int32_t>(i);
    count += is_valid;
    outside |= ~is_valid & static_cast<uint32_t>(row != -1);
  }
  in_range &= outside == 0;
  return count;
}

int64_t portable(const PairList& list, bool& in_range) {
  return collect_from(list, 0, 0, in_range);
}

#if ELITE_X86

// Compresses in a register and stores all of it: compressing into memory is microcode on some
// processors.
__attribute__((target("avx512f"))) int64_t avx512(const PairList& list, bool& in_range) {
  const __m512i num_in = _mm512_set1_epi32(static_cast<int32_t>(list.num_in));
  const __m512i none = _mm512_set1_epi32(-1), step = _mm512_set1_epi32(16);
  __m512i place = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  uint32_t outside = 0;
  int64_t count = 0, i = 0;
  for (; i + 16 <= list.size; i += 16) {
    const __m512i rows = _mm512_loadu_si512(list.neighbors + i);
    const __mmask16 valid = _mm512_cmplt_epu32_mask(rows, num_in);
    _mm512_storeu_si512(list.rows_in + count, _mm512_maskz_compress_epi32(valid, rows));
    _mm512_storeu_si512(list.rows_out + count, _mm512_maskz_compress_epi32(valid, place));
    outside |= ~valid & _mm512_cmpneq_epi32_mask(rows, none);
    place = _mm512_add_epi32(place, step);
    count += __builtin_popcount(valid);
  }
  in_range &= outside == 0;
  return collect_from(list, i, count, in_range);
}

#endif

std::vector<CollectPairsVariant> supported_variants() {
  std::vector<CollectPairsVariant> variants;
#if ELITE_X86
  if (__builtin_cpu_supports("avx512f")) variants.push_back({"avx512", &avx512});
#endif
  variants.push_back({"portable", &portable});
  return variants;
}

}  // namespace

const std::vector<CollectPairsVariant>& collect_pairs_variants() {
  static const std::vector<CollectPairsVariant> variants = supported_variants();
  return variants;
}

}  // namespace elite_ops::cpu
