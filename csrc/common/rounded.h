// Arithmetic that is rounded after every operation: no compiler fuses it into multiply-adds. It is
// for results that must agree to the bit between the CPU, CUDA and the definition in PyTorch.
#pragma once

#include "common/host_device.h"

namespace elite_ops {

#ifdef __CUDA_ARCH__
ELITE_HOST_DEVICE inline float rounded_add(float a, float b) { return __fadd_rn(a, b); }
ELITE_HOST_DEVICE inline float rounded_mul(float a, float b) { return __fmul_rn(a, b); }
ELITE_HOST_DEVICE inline float rounded_div(float a, float b) { return __fdiv_rn(a, b); }
ELITE_HOST_DEVICE inline double rounded_add(double a, double b) { return __dadd_rn(a, b); }
ELITE_HOST_DEVICE inline double rounded_mul(double a, double b) { return __dmul_rn(a, b); }
ELITE_HOST_DEVICE inline double rounded_div(double a, double b) { return __ddiv_rn(a, b); }
#else  // on the host, -ffp-contract=off does it
template <typename T>
ELITE_HOST_DEVICE inline T rounded_add(T a, T b) {
  return a + b;
}
template <typename T>
ELITE_HOST_DEVICE inline T rounded_mul(T a, T b) {
  return a * b;
}
template <typename T>
ELITE_HOST_DEVICE inline T rounded_div(T a, T b) {
  return a / b;
}
#endif

}  // namespace elite_ops
