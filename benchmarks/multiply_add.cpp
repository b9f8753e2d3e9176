// The peak of a core: fused multiply-adds on independent sums that stay in registers.
#include <cstdint>

#if defined(__AVX512F__)
constexpr int kBytes = 64;
#elif defined(__AVX2__)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif
constexpr int kWidth = kBytes / sizeof(float);
constexpr int kSums = 12;  // enough to keep a core's units busy, fewer than it has registers
typedef float Vector __attribute__((vector_size(kBytes)));

extern "C" int64_t flop_per_round() { return 2 * kSums * kWidth; }

// The numbers come at run time, so that nothing is computed at compile time or only once.
extern "C" float multiply_add(int64_t rounds, float first, float factor, float summand) {
  Vector sums[kSums];
  for (int i = 0; i < kSums; ++i) sums[i] = Vector{} + (first + i);
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < kSums; ++i) sums[i] = sums[i] * factor + summand;
  }
  float total = 0;
  for (const Vector& sum : sums) {
    for (int lane = 0; lane < kWidth; ++lane) total += sum[lane];
  }
  return total;
}
