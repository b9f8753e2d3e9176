// The inner loop of the sparse convolutions: a few rows times panels of columns, where every row
// may lie anywhere.
#pragma once

#include <cstdint>
#include <vector>

namespace elite_ops::cpu {

constexpr int kMicroRows = 6;    // rows a call works on: with 4 panels they fill 24 of 32 registers
constexpr int kPanelWidth = 16;  // columns of a panel: one AVX-512 register of floats

// c[r][16 p + j] += sum over t < depth of a[r][t * a_step] * b[p * b_panel + t * b_step + j]
// for r < kMicroRows, p < panels, j < kPanelWidth. The sum is formed in the order of t and added
// last, so that the loop doesn't wait for `c`. `b` and the rows of `c` are aligned to 64 bytes, and
// so are the steps between panels.
template <typename T>
struct MicroGemm {
  const T* a[kMicroRows];
  T* c[kMicroRows];
  const T* b;
  int64_t a_step;
  int64_t b_step;
  int64_t b_panel;
  int64_t depth;
  int64_t panels;
};

template <typename T>
using MicroGemmFunction = void (*)(const MicroGemm<T>&);

struct MicroGemmVariant {
  const char* name;
  MicroGemmFunction<float> function;
};

// The variants for float that this processor can run, the fastest first. Never empty.
const std::vector<MicroGemmVariant>& micro_gemm_variants();

// The fastest function for T.
template <typename T>
MicroGemmFunction<T> fastest_micro_gemm();

}  // namespace elite_ops::cpu
