// Loops that the compiler vectorizes, in the widest registers that a processor has. There is one
// source for all, and nothing is contracted or reordered: the bits are the same everywhere.
#pragma once

#include <cstdint>

#include "x86.h"

namespace elite_ops::cpu {

#if ELITE_X86

// Inlines `body`, which must be always_inline, and with it what it calls.
template <typename Body>
__attribute__((target("avx2"))) void run_avx2(const Body& body, int64_t begin, int64_t end) {
  body(begin, end);
}

template <typename Body>
void run_vectorized(const Body& body, int64_t begin, int64_t end) {
  static const bool has_avx2 = __builtin_cpu_supports("avx2");
  has_avx2 ? run_avx2(body, begin, end) : body(begin, end);
}

#else

template <typename Body>
void run_vectorized(const Body& body, int64_t begin, int64_t end) {
  body(begin, end);
}

#endif

}  // namespace elite_ops::cpu
