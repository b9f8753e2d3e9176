// The inner loop of the sparse convolutions: a few rows times panels of columns, where every row
// may lie anywhere.
#pragma once

#include <cstdint>
#include <type_traits>
#include <vector>

#include "bfloat16.h"

namespace elite_ops::cpu {

constexpr int kMicroRows = 6;    // rows a call works on: with 4 panels they fill 24 of 32 registers
constexpr int kPanelWidth = 16;  // columns of a panel: one AVX-512 register of floats

// c[r][16 p + j] += sum over t < depth of a[r][t * a_step] * b[p * b_panel + t * b_step + j]
// for r < kMicroRows, p < panels, j < kPanelWidth. The sum is formed in the order of t and added
// last, so that the loop doesn't wait for `c`. `b` and the rows of `c` are aligned to 64 bytes, and
// so are the steps between panels.
//
// Of bfloat16, two steps are one: t and t + 1 lie side by side in `b`, at 2 j and 2 j + 1, and
// b_step leads from one pair to the next; `depth` is even and a_step 1. Two products are added at a
// time.
template <typename T>
struct MicroGemm {
  const T* a[kMicroRows];
  sum_t<T>* c[kMicroRows];
  const T* b;
  int64_t a_step;
  int64_t b_step;
  int64_t b_panel;
  int64_t depth;
  int64_t panels;
};

// How many steps of `depth` are one in `b`.
template <typename T>
constexpr int64_t kStepWidth = std::is_same_v<T, BFloat16> ? 2 : 1;

template <typename T>
using MicroGemmFunction = void (*)(const MicroGemm<T>&);

struct MicroGemmVariant {
  const char* name;
  MicroGemmFunction<float> function;
};

// The variants for float that this processor can run, the fastest first. Never empty.
const std::vector<MicroGemmVariant>& micro_gemm_variants();

// Whether this processor multiplies bfloat16.
bool multiplies_bfloat16();

// The fastest function for T; for bfloat16, where the processor multiplies it.
template <typename T>
MicroGemmFunction<T> fastest_micro_gemm();

}  // namespace elite_ops::cpu
