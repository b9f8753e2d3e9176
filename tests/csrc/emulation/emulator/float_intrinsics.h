// Floating-point intrinsics. The host rounds to nearest and is compiled without contraction, so the
// `_rn` forms are the plain operators; the fast, approximate ones are computed accurately.
#pragma once

#include <math.h>

#include <bit>
#include <cmath>
#include <limits>
#include <type_traits>

inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fmaf_rn(float x, float y, float z) { return std::fma(x, y, z); }
inline double __dadd_rn(double x, double y) { return x + y; }
inline double __dsub_rn(double x, double y) { return x - y; }
inline double __dmul_rn(double x, double y) { return x * y; }
inline double __fma_rn(double x, double y, double z) { return std::fma(x, y, z); }

inline float __fdiv_rn(float x, float y) { return x / y; }
inline double __ddiv_rn(double x, double y) { return x / y; }
inline float __frcp_rn(float x) { return __fdiv_rn(1.f, x); }
inline float __fdividef(float x, float y) { return __fdiv_rn(x, y); }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline double __dsqrt_rn(double x) { return std::sqrt(x); }
inline float __frsqrt_rn(float x) { return static_cast<float>(1 / std::sqrt(double{x})); }
inline float rsqrtf(float x) { return __frsqrt_rn(x); }
inline double rsqrt(double x) { return __ddiv_rn(1, std::sqrt(x)); }

inline float __expf(float x) { return std::exp(x); }
inline float __exp10f(float x) { return std::pow(10.f, x); }
inline float __logf(float x) { return std::log(x); }
inline float __log2f(float x) { return std::log2(x); }
inline float __log10f(float x) { return std::log10(x); }
inline float __powf(float x, float y) { return std::pow(x, y); }
inline float __sinf(float x) { return std::sin(x); }
inline float __cosf(float x) { return std::cos(x); }
inline float __tanf(float x) { return std::tan(x); }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1.f) : 0.f; }

inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }

namespace emulation {

// The device's conversions saturate, and turn NaN into 0 (into the lowest value from a double or to
// 64 bits, which is left out here: kernels don't convert NaN).
template <typename Integer, typename Real>
Integer saturated(Real rounded) {
  constexpr Integer kLowest = std::numeric_limits<Integer>::lowest();
  constexpr Integer kHighest = std::numeric_limits<Integer>::max();
  if (rounded != rounded) return 0;
  if (rounded <= static_cast<Real>(kLowest)) return kLowest;
  if (rounded >= static_cast<Real>(kHighest)) return kHighest;
  return static_cast<Integer>(rounded);
}

}  // namespace emulation

#define EMULATION_TO_INTEGER(prefix, suffix, integer, real)  \
  inline integer prefix##suffix##_rn(real x) {               \
    return emulation::saturated<integer>(std::nearbyint(x)); \
  }                                                          \
  inline integer prefix##suffix##_rz(real x) {               \
    return emulation::saturated<integer>(std::trunc(x));     \
  }                                                          \
  inline integer prefix##suffix##_rd(real x) {               \
    return emulation::saturated<integer>(std::floor(x));     \
  }                                                          \
  inline integer prefix##suffix##_ru(real x) { return emulation::saturated<integer>(std::ceil(x)); }

EMULATION_TO_INTEGER(__float2, int, int, float)
EMULATION_TO_INTEGER(__float2, uint, unsigned, float)
EMULATION_TO_INTEGER(__float2, ll, long long, float)
EMULATION_TO_INTEGER(__double2, int, int, double)
EMULATION_TO_INTEGER(__double2, ll, long long, double)

#undef EMULATION_TO_INTEGER

inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
inline float __ll2float_rn(long long x) { return static_cast<float>(x); }
inline double __int2double_rn(int x) { return x; }
inline float __double2float_rn(double x) { return static_cast<float>(x); }

// Of equal types only, as on the device, where mixed ones are ambiguous.
template <typename T>
  requires std::is_integral_v<T>
constexpr T min(T x, T y) {
  return y < x ? y : x;
}
template <typename T>
  requires std::is_integral_v<T>
constexpr T max(T x, T y) {
  return x < y ? y : x;
}
inline float min(float x, float y) { return std::fmin(x, y); }
inline float max(float x, float y) { return std::fmax(x, y); }
inline double min(double x, double y) { return std::fmin(x, y); }
inline double max(double x, double y) { return std::fmax(x, y); }
