#include "emulator/tensor_core.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "emulator/shared_memory.h"

namespace emulation {
namespace {

constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kM = 16, kN = 8;

struct Product {
  float* acc;
  const uint32_t* a;
  const uint32_t* b;
  const float* numbers;
};

// The operands as matrices; `kK` is the length of the sums.
template <int kK>
struct Operands {
  float a[kM][kK];
  float b[kK][kN];
};

template <int kK>
void multiply(const Operands<kK>& in, void* const (&lanes)[kLanes]) {
  for (int lane = 0; lane < kLanes; ++lane) {
    float* acc = static_cast<Product*>(lanes[lane])->acc;
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
      double sum = double{acc[i]};
      for (int k = 0; k < kK; ++k) sum += double{in.a[row][k]} * double{in.b[k][column]};
      acc[i] = static_cast<float>(sum);
    }
  }
}

void combine_16_bit(void* const (&lanes)[kLanes]) {
  Operands<16> in;
  for (int lane = 0; lane < kLanes; ++lane) {
    const Product& mine = *static_cast<Product*>(lanes[lane]);
    const int g = lane / 4, t = lane % 4;
    for (int half = 0; half < 2; ++half) {
      const auto element = [&](uint32_t r) { return mine.numbers[r >> (16 * half) & 0xffff]; };
      for (int i = 0; i < 4; ++i) {
        in.a[g + 8 * (i % 2)][2 * t + 8 * (i / 2) + half] = element(mine.a[i]);
      }
      for (int i = 0; i < 2; ++i) in.b[2 * t + 8 * i + half][g] = element(mine.b[i]);
    }
  }
  multiply(in, lanes);
}

void combine_tf32(void* const (&lanes)[kLanes]) {
  constexpr uint32_t kTf32Bits = 0xffffe000u;
  Operands<8> in;
  for (int lane = 0; lane < kLanes; ++lane) {
    const Product& mine = *static_cast<Product*>(lanes[lane]);
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) {
      in.a[g + 8 * (i % 2)][t + 4 * (i / 2)] = std::bit_cast<float>(mine.a[i] & kTf32Bits);
    }
    for (int i = 0; i < 2; ++i) in.b[t + 4 * i][g] = std::bit_cast<float>(mine.b[i] & kTf32Bits);
  }
  multiply(in, lanes);
}

struct Load {
  const void* row;
  uint32_t* registers;
};

void combine_loads(void* const (&lanes)[kLanes]) {
  for (int matrix = 0; matrix < 4; ++matrix) {
    uint16_t elements[8][8];
    for (int row = 0; row < 8; ++row) {
      const void* address = static_cast<Load*>(lanes[8 * matrix + row])->row;
      std::memcpy(elements[row], address, sizeof elements[row]);
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      const int i = lane / 4, j = 2 * (lane % 4);
      const uint32_t low = elements[j][i], high = elements[j + 1][i];
      static_cast<Load*>(lanes[lane])->registers[matrix] = low | high << 16;
    }
  }
}

}  // namespace

void mma_16_bit(float (&acc)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                const float* numbers, Place place) {
  Product mine{acc, a, b, numbers};
  wait_for_warp(kAllLanes, &mine, combine_16_bit, place);
}

void mma_tf32(float (&acc)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Place place) {
  Product mine{acc, a, b, nullptr};
  wait_for_warp(kAllLanes, &mine, combine_tf32, place);
}

uint32_t to_tf32(float x) {
  if (std::isnan(x)) return 0x7fffffff;  // the device's only NaN
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  return std::isinf(x) ? bits : (bits + 0x1000) & 0xffffe000u;
}

void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row, Place place) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) fail("ldmatrix: row at %p not aligned", row);
  if (!is_shared(row)) fail("ldmatrix: the row at %p is not in shared memory", row);
  Load mine{row, r};
  wait_for_warp(kAllLanes, &mine, combine_loads, place);
}

}  // namespace emulation
