#include "micro_gemm.h"

#include <cstring>

#include "x86.h"

namespace elite_ops::cpu {
namespace {

template <typename T>
void portable(const MicroGemm<T>& g) {
  for (int64_t p = 0; p < g.panels; ++p) {
    const T* b = g.b + p * g.b_panel;
    T sum[kMicroRows][kPanelWidth] = {};
    for (int64_t t = 0; t < g.depth; ++t) {
      for (int r = 0; r < kMicroRows; ++r) {
        const T a = g.a[r][t * g.a_step];
        for (int j = 0; j < kPanelWidth; ++j) sum[r][j] += a * b[t * g.b_step + j];
      }
    }
    for (int r = 0; r < kMicroRows; ++r) {
      for (int j = 0; j < kPanelWidth; ++j) g.c[r][p * kPanelWidth + j] += sum[r][j];
    }
  }
}

#if ELITE_X86

// Compiled for its instruction set whatever the flags of the build are; called only where the
// processor has it, for floats also where it lacks bf16. All loops over rows and panels unroll, so
// that `sum` lives in registers.
template <typename T, int kPanels>
__attribute__((target("avx512f,avx512bf16"))) void avx512_panels(const MicroGemm<T>& g,
                                                                 int64_t first) {
  const T* a[kMicroRows];
  __m512 sum[kMicroRows][kPanels];
#pragma GCC unroll 6
  for (int r = 0; r < kMicroRows; ++r) {
    a[r] = g.a[r];
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) sum[r][p] = _mm512_setzero_ps();
  }
  const T* b = g.b + first * g.b_panel;
  for (int64_t t = 0; t < g.depth; t += kStepWidth<T>) {
    __m512 columns[kPanels];
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) columns[p] = _mm512_load_ps(b + p * g.b_panel);
#pragma GCC unroll 6
    for (int r = 0; r < kMicroRows; ++r) {
      float bits;  // a float, or two bfloat16
      std::memcpy(&bits, a[r] + t * g.a_step, sizeof(bits));
      const __m512 row = _mm512_set1_ps(bits);
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) {
        if constexpr (std::is_same_v<T, BFloat16>) {
          sum[r][p] = _mm512_dpbf16_ps(sum[r][p], (__m512bh)row, (__m512bh)columns[p]);
        } else {
          sum[r][p] = _mm512_fmadd_ps(row, columns[p], sum[r][p]);
        }
      }
    }
    b += g.b_step;
  }
#pragma GCC unroll 6
  for (int r = 0; r < kMicroRows; ++r) {
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
      float* c = g.c[r] + (first + p) * kPanelWidth;
      _mm512_store_ps(c, _mm512_add_ps(_mm512_load_ps(c), sum[r][p]));
    }
  }
}

template <typename T>
void avx512(const MicroGemm<T>& g) {
  int64_t p = 0;
  for (; p + 4 <= g.panels; p += 4) avx512_panels<T, 4>(g, p);
  for (; p + 2 <= g.panels; p += 2) avx512_panels<T, 2>(g, p);
  for (; p < g.panels; ++p) avx512_panels<T, 1>(g, p);
}

// 16 registers hold one panel as two halves: 12 sums, 2 columns, 1 row.
__attribute__((target("avx2,fma"))) void avx2(const MicroGemm<float>& g) {
  for (int64_t panel = 0; panel < g.panels; ++panel) {
    const float* a[kMicroRows];
    __m256 sum[kMicroRows][2];
#pragma GCC unroll 6
    for (int r = 0; r < kMicroRows; ++r) {
      a[r] = g.a[r];
      sum[r][0] = sum[r][1] = _mm256_setzero_ps();
    }
    const float* b = g.b + panel * g.b_panel;
    for (int64_t t = 0; t < g.depth; ++t) {
      const __m256 low = _mm256_load_ps(b), high = _mm256_load_ps(b + 8);
#pragma GCC unroll 6
      for (int r = 0; r < kMicroRows; ++r) {
        const __m256 row = _mm256_set1_ps(a[r][t * g.a_step]);
        sum[r][0] = _mm256_fmadd_ps(row, low, sum[r][0]);
        sum[r][1] = _mm256_fmadd_ps(row, high, sum[r][1]);
      }
      b += g.b_step;
    }
#pragma GCC unroll 6
    for (int r = 0; r < kMicroRows; ++r) {
      float* c = g.c[r] + panel * kPanelWidth;
      _mm256_store_ps(c, _mm256_add_ps(_mm256_load_ps(c), sum[r][0]));
      _mm256_store_ps(c + 8, _mm256_add_ps(_mm256_load_ps(c + 8), sum[r][1]));
    }
  }
}

#endif

std::vector<MicroGemmVariant> supported_variants() {
  std::vector<MicroGemmVariant> variants;
#if ELITE_X86
  if (__builtin_cpu_supports("avx512f")) variants.push_back({"avx512", &avx512<float>});
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    variants.push_back({"avx2", &avx2});
  }
#endif
  variants.push_back({"portable", &portable<float>});
  return variants;
}

}  // namespace

const std::vector<MicroGemmVariant>& micro_gemm_variants() {
  static const std::vector<MicroGemmVariant> variants = supported_variants();
  return variants;
}

#if ELITE_X86

bool multiplies_bfloat16() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bf16");
}

template <>
MicroGemmFunction<BFloat16> fastest_micro_gemm<BFloat16>() {
  return &avx512<BFloat16>;
}

#else

bool multiplies_bfloat16() { return false; }

template <>
MicroGemmFunction<BFloat16> fastest_micro_gemm<BFloat16>() {
  return nullptr;
}

#endif

template <>
MicroGemmFunction<float> fastest_micro_gemm<float>() {
  return micro_gemm_variants().front().function;
}

template <>
MicroGemmFunction<double> fastest_micro_gemm<double>() {
  return &portable<double>;
}

}  // namespace elite_ops::cpu
