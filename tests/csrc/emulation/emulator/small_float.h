// 16-bit floating-point numbers, stored as their bits. Every operation computes in float, or double
// for a fused multiply-add, and rounds once to nearest even: with at most 11 significant bits the
// wider result has enough of them that the second rounding equals a single one.
#pragma once

#include <bit>
#include <cmath>
#include <concepts>
#include <cstdint>

#include "emulator/float_intrinsics.h"
#include "emulator/warp.h"

namespace emulation {

// Rounds to odd, so that rounding the result once more gives what rounding `x` directly gives.
inline float narrowed_to_odd(double x) {
  const float nearest = static_cast<float>(x);
  if (double{nearest} == x || !std::isfinite(nearest)) return nearest;
  const bool away = std::fabs(double{nearest}) > std::fabs(x);
  const uint32_t toward_zero = std::bit_cast<uint32_t>(nearest) - (away ? 1 : 0);
  return std::bit_cast<float>(toward_zero | 1);
}

template <typename Encoding>
struct SmallFloat {
  uint16_t bits;

  SmallFloat() = default;
  SmallFloat(float x) : bits(Encoding::encode(x)) {}
  SmallFloat(double x) : SmallFloat(narrowed_to_odd(x)) {}
  template <std::integral Integer>
  SmallFloat(Integer x) : SmallFloat(static_cast<double>(x)) {}
  operator float() const { return Encoding::decode(bits); }

  static SmallFloat from_bits(uint16_t bits) {
    SmallFloat x;
    x.bits = bits;
    return x;
  }

  friend SmallFloat operator+(SmallFloat a, SmallFloat b) { return float{a} + float{b}; }
  friend SmallFloat operator-(SmallFloat a, SmallFloat b) { return float{a} - float{b}; }
  friend SmallFloat operator*(SmallFloat a, SmallFloat b) { return float{a} * float{b}; }
  friend SmallFloat operator/(SmallFloat a, SmallFloat b) { return __fdiv_rn(a, b); }
  friend SmallFloat operator-(SmallFloat a) { return from_bits(a.bits ^ 0x8000); }
  friend SmallFloat& operator+=(SmallFloat& a, SmallFloat b) { return a = a + b; }
  friend SmallFloat& operator-=(SmallFloat& a, SmallFloat b) { return a = a - b; }
  friend SmallFloat& operator*=(SmallFloat& a, SmallFloat b) { return a = a * b; }
  friend SmallFloat& operator/=(SmallFloat& a, SmallFloat b) { return a = a / b; }
  friend bool operator==(SmallFloat a, SmallFloat b) { return float{a} == float{b}; }
  friend bool operator!=(SmallFloat a, SmallFloat b) { return float{a} != float{b}; }
  friend bool operator<(SmallFloat a, SmallFloat b) { return float{a} < float{b}; }
  friend bool operator<=(SmallFloat a, SmallFloat b) { return float{a} <= float{b}; }
  friend bool operator>(SmallFloat a, SmallFloat b) { return float{a} > float{b}; }
  friend bool operator>=(SmallFloat a, SmallFloat b) { return float{a} >= float{b}; }
};

template <typename Encoding>
struct alignas(4) SmallFloat2 {
  SmallFloat<Encoding> x, y;

  friend SmallFloat2 operator+(SmallFloat2 a, SmallFloat2 b) { return {a.x + b.x, a.y + b.y}; }
  friend SmallFloat2 operator-(SmallFloat2 a, SmallFloat2 b) { return {a.x - b.x, a.y - b.y}; }
  friend SmallFloat2 operator*(SmallFloat2 a, SmallFloat2 b) { return {a.x * b.x, a.y * b.y}; }
};

template <typename Encoding>
constexpr bool kShuffles<SmallFloat<Encoding>> = true;
template <typename Encoding>
constexpr bool kShuffles<SmallFloat2<Encoding>> = true;

}  // namespace emulation

// The named forms of the operators. They are the same for both encodings.
#define EMULATION_SMALL_FLOAT_OPERATION(name, expression)                                       \
  template <typename E>                                                                         \
  emulation::SmallFloat<E> name(emulation::SmallFloat<E> a, emulation::SmallFloat<E> b) {       \
    return expression;                                                                          \
  }                                                                                             \
  template <typename E>                                                                         \
  emulation::SmallFloat2<E> name##2(emulation::SmallFloat2<E> a, emulation::SmallFloat2<E> b) { \
    return {name(a.x, b.x), name(a.y, b.y)};                                                    \
  }

EMULATION_SMALL_FLOAT_OPERATION(__hadd, a + b)
EMULATION_SMALL_FLOAT_OPERATION(__hsub, a - b)
EMULATION_SMALL_FLOAT_OPERATION(__hmul, a* b)
EMULATION_SMALL_FLOAT_OPERATION(__hmin, std::fmin(float{a}, float{b}))
EMULATION_SMALL_FLOAT_OPERATION(__hmax, std::fmax(float{a}, float{b}))

#undef EMULATION_SMALL_FLOAT_OPERATION

template <typename E>
emulation::SmallFloat<E> __hdiv(emulation::SmallFloat<E> a, emulation::SmallFloat<E> b) {
  return a / b;
}
template <typename E>
emulation::SmallFloat<E> __hfma(emulation::SmallFloat<E> a, emulation::SmallFloat<E> b,
                                emulation::SmallFloat<E> c) {
  return std::fma(double{float{a}}, double{float{b}}, double{float{c}});
}
template <typename E>
emulation::SmallFloat2<E> __hfma2(emulation::SmallFloat2<E> a, emulation::SmallFloat2<E> b,
                                  emulation::SmallFloat2<E> c) {
  return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)};
}
template <typename E>
emulation::SmallFloat<E> __hneg(emulation::SmallFloat<E> a) {
  return -a;
}
template <typename E>
emulation::SmallFloat<E> __habs(emulation::SmallFloat<E> a) {
  return emulation::SmallFloat<E>::from_bits(a.bits & 0x7fff);
}
template <typename E>
bool __hisnan(emulation::SmallFloat<E> a) {
  return a != a;
}
template <typename E>
float __low2float(emulation::SmallFloat2<E> a) {
  return a.x;
}
template <typename E>
float __high2float(emulation::SmallFloat2<E> a) {
  return a.y;
}
