// The exponential function where softmaxes need it: for numbers up to 0, in loops that the compiler
// vectorizes, which it does not do with std::exp.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace elite_ops::cpu {

inline double exp_nonpositive(double x) { return std::exp(x); }

// e^x for x <= 0 with a relative error of 1e-7; 0 below e^-87, NaN for NaN. With n
// the integer next to x / log(2), e^x = 2^n e^r and |r| <= log(2) / 2, so that the series may end
// after its seventh power.
inline float exp_nonpositive(float x) {
  constexpr float kLowest = -87.f;
  constexpr float kLog2High = 0.693359375f, kLog2Low = -2.12194440e-4f;  // n * high is exact
  constexpr float kRound = 12582912.f;  // 1.5 * 2^23: adding it rounds, and puts n in the last bits
  // A mask, since a branch for small x would keep the loop around from being vectorized.
  const uint32_t mask = static_cast<uint32_t>(x < kLowest) - 1u;
  const float kept = std::bit_cast<float>(std::bit_cast<uint32_t>(x) & mask);
  const float shifted = kept * 1.44269504f + kRound;
  const float n = shifted - kRound;
  const float r = (kept - n * kLog2High) - n * kLog2Low;
  float series = 1.f / 5040;
  series = series * r + 1.f / 720;
  series = series * r + 1.f / 120;
  series = series * r + 1.f / 24;
  series = series * r + 1.f / 6;
  series = series * r + 1.f / 2;
  series = series * r + 1.f;
  series = series * r + 1.f;
  const float power = std::bit_cast<float>((std::bit_cast<uint32_t>(shifted) + 127u) << 23);
  return std::bit_cast<float>(std::bit_cast<uint32_t>(series * power) & mask);
}

}  // namespace elite_ops::cpu
