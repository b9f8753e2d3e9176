// The emulation's 16-bit numbers and its arithmetic and bit intrinsics.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "harness.h"

namespace {

// A 16-bit number by the definition of its format.
double by_definition(unsigned bits, int exponent_bits, int mantissa_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = static_cast<int>(bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const double mantissa = bits & ((1u << mantissa_bits) - 1);
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, 1 - bias - mantissa_bits)
                    : std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
  return bits & 0x8000 ? -magnitude : magnitude;
}

// Every finite number is decoded right; it, what lies close to it and the middles to its neighbours
// are rounded to nearest even.
template <typename T>
void check_every_number(int exponent_bits, int mantissa_bits) {
  const unsigned infinity = ((1u << exponent_bits) - 1) << mantissa_bits;
  for (unsigned bits = 0; bits < infinity; ++bits) {
    for (const unsigned sign : {0u, 0x8000u}) {
      const double x = by_definition(bits | sign, exponent_bits, mantissa_bits);
      const double next = by_definition((bits + 1) | sign, exponent_bits, mantissa_bits);
      const double middle = x + (next - x) / 2;
      const uint16_t here = static_cast<uint16_t>(bits | sign);
      const uint16_t there = static_cast<uint16_t>((bits + 1) | sign);
      CHECK(static_cast<double>(float{T::from_bits(here)}) == x);
      CHECK(T(static_cast<float>(x)).bits == here);
      CHECK(T(static_cast<float>(middle)).bits == (bits % 2 ? there : here));
      CHECK(T(std::nextafter(middle, x)).bits == here);
      CHECK(T(std::nextafter(middle, next)).bits == there);
      CHECK(T(std::nextafter(static_cast<float>(middle), static_cast<float>(next))).bits == there);
    }
  }
  const auto limit = T::from_bits(static_cast<uint16_t>(infinity));
  CHECK(float{limit} == HUGE_VALF && T(HUGE_VALF).bits == limit.bits && T(1e39).bits == limit.bits);
  CHECK(T(NAN).bits == 0x7fff && __hisnan(T(NAN)) && std::isnan(float{T(NAN)}));
}

template <typename T>
void check_arithmetic() {
  harness::Random random(3);
  for (int i = 0; i < 2000; ++i) {
    const T a = random.uniform(-4.f, 4.f), b = random.uniform(-4.f, 4.f);
    const T c = random.uniform(-4.f, 4.f);
    const double x = float{a}, y = float{b}, z = float{c};
    CHECK((a + b).bits == T(x + y).bits && (a - b).bits == T(x - y).bits);
    CHECK((a * b).bits == T(x * y).bits && (a / b).bits == T(x / y).bits);
    CHECK(__hfma(a, b, c).bits == T(std::fma(x, y, z)).bits);
    CHECK((a < b) == (x < y) && __hmax(a, b).bits == T(std::fmax(x, y)).bits);
  }
}

}  // namespace

CASE(halves) {
  static_assert(sizeof(__half) == 2 && alignof(__half2) == 4);
  check_every_number<__half>(5, 10);
  check_arithmetic<__half>();
  CHECK(__half_as_ushort(__float2half_rn(1.f)) == 0x3c00);
  CHECK(__half2float(__ushort_as_half(0xc000)) == -2.f);
  const float2 pair = __half22float2(__floats2half2_rn(0.5f, 65504.f));
  CHECK(pair.x == 0.5f && pair.y == 65504.f);
}

CASE(bfloat16s) {
  static_assert(sizeof(__nv_bfloat16) == 2 && alignof(__nv_bfloat162) == 4);
  check_every_number<__nv_bfloat16>(8, 7);
  check_arithmetic<__nv_bfloat16>();
  CHECK(__bfloat16_as_ushort(__float2bfloat16(1.f)) == 0x3f80);
  CHECK(__low2float(__floats2bfloat162_rn(3.f, 4.f)) == 3.f);
}

CASE(bit_intrinsics) {
  CHECK(__popc(0xf0f0u) == 8 && __popcll(~0ull) == 64);
  CHECK(__clz(1) == 31 && __clz(0) == 32 && __clzll(1) == 63);
  CHECK(__ffs(0) == 0 && __ffs(12) == 3 && __ffsll(1ll << 40) == 41);
  CHECK(__brev(1u) == 0x80000000u && __brevll(2ull) == 1ull << 62);
  CHECK(__fns(0b101100u, 0, 1) == 2 && __fns(0b101100u, 0, 3) == 5);
  CHECK(__fns(0b101100u, 0, 4) == ~0u && __fns(0b101100u, 31, -1) == 5);
  CHECK(__fns(0b101100u, 3, 0) == 3 && __fns(0b101100u, 4, 0) == ~0u);
  CHECK(__byte_perm(0x33221100u, 0x77665544u, 0x7410) == 0x77441100u);
  CHECK(__funnelshift_l(0x80000000u, 1u, 1) == 3u && __funnelshift_r(0u, 1u, 1) == 0x80000000u);
  CHECK(__umulhi(0x80000000u, 6u) == 3u && __mulhi(-1, 1) == -1);
  CHECK(__umul64hi(1ull << 63, 6ull) == 3ull && __mul64hi(-1, 1) == -1);
}

CASE(conversions_and_extrema) {
  CHECK(__float2int_rn(2.5f) == 2 && __float2int_rn(3.5f) == 4);
  CHECK(__float2int_rd(-1.5f) == -2 && __float2int_ru(-1.5f) == -1 && __float2int_rz(-1.5f) == -1);
  CHECK(__float2int_rz(1e20f) == INT32_MAX && __float2int_rz(-1e20f) == INT32_MIN);
  CHECK(__float2uint_rz(-3.f) == 0u && __float2int_rz(NAN) == 0);
  CHECK(__float_as_uint(1.f) == 0x3f800000u && __uint_as_float(0x40000000u) == 2.f);
  CHECK(min(3, 4) == 3 && max(int64_t{3}, int64_t{4}) == 4 && max(NAN, 1.f) == 1.f);
  CHECK(__fdiv_rn(1.f, 3.f) == 1.f / 3.f && rsqrtf(4.f) == 0.5f && __saturatef(2.f) == 1.f);
}
