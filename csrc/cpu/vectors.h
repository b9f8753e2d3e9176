// Loops over channels in vector registers of the width that the processor has, chosen at run time.
// Every channel is computed by the same operations in the same order whatever the width, and no
// product is contracted (-ffp-contract=off): all widths give the same bits.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "x86.h"

#define ELITE_ALWAYS_INLINE __attribute__((always_inline)) inline

namespace elite_ops::cpu {

// The bytes of a vector register: 16, 32 (AVX2) or 64 (AVX-512).
using VectorBytes = int;

// The widths that this processor has, the widest first. Never empty.
const std::vector<VectorBytes>& vector_widths();

template <int bytes>
using Bytes = std::integral_constant<int, bytes>;

#if ELITE_X86

template <typename Body>
__attribute__((target("avx512f"))) void with_64_bytes(const Body& body) {
  body(Bytes<64>());
}
template <typename Body>
__attribute__((target("avx2"))) void with_32_bytes(const Body& body) {
  body(Bytes<32>());
}

#endif

// Calls `body(Bytes<n>())`, compiled for registers of `width` bytes. It and what it calls must be
// ELITE_ALWAYS_INLINE, a lambda `[&](auto bytes) __attribute__((always_inline))`.
template <typename Body>
void with_vectors(VectorBytes width, const Body& body) {
#if ELITE_X86
  if (width == 64) return with_64_bytes(body);
  if (width == 32) return with_32_bytes(body);
#endif
  body(Bytes<16>());
}

// Calls `body(begin, end)`, a loop that the compiler vectorizes, compiled for the widest registers.
// It and what it calls must be ELITE_ALWAYS_INLINE.
template <typename Body>
void run_vectorized(const Body& body, int64_t begin, int64_t end) {
  with_vectors(vector_widths().front(),
               [&](auto) __attribute__((always_inline)) { body(begin, end); });
}

template <typename T, int bytes>
struct VectorType {
  typedef T type __attribute__((vector_size(bytes)));
};
template <typename T, int bytes>
using Vector = typename VectorType<T, bytes>::type;

// From and to any address.
template <typename V>
ELITE_ALWAYS_INLINE void load(V& vector, const void* from) {
  std::memcpy(&vector, from, sizeof(V));
}
template <typename V>
ELITE_ALWAYS_INLINE void store(const V& vector, void* to) {
  std::memcpy(to, &vector, sizeof(V));
}

// Calls `body(Bytes<n>(), std::integral_constant<int, vectors>(), first)` for parts of the channels
// [first, channels): four registers at a time, then one, then narrower ones.
template <typename T, int bytes, typename Body>
ELITE_ALWAYS_INLINE void for_each_part(int64_t first, int64_t channels, const Body& body) {
  constexpr int64_t kWidth = bytes / sizeof(T);
  for (; first + 4 * kWidth <= channels; first += 4 * kWidth) {
    body(Bytes<bytes>(), std::integral_constant<int, 4>(), first);
  }
  for (; first + kWidth <= channels; first += kWidth) {
    body(Bytes<bytes>(), std::integral_constant<int, 1>(), first);
  }
  if constexpr (kWidth > 1) for_each_part<T, bytes / 2>(first, channels, body);
}

}  // namespace elite_ops::cpu
