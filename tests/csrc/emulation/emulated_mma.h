// What csrc/cuda/mma.cuh declares, without the instructions.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <vector>

#include "emulator/tensor_core.h"

namespace emulation {

// The value of every 16-bit number, decoded once: a product of fragments reads 384 of them.
template <typename Number>
const float* all_numbers() {
  static const std::vector<float> numbers = [] {
    std::vector<float> decoded;
    for (int bits = 0; bits < 1 << 16; ++bits) {
      decoded.push_back(Number::from_bits(static_cast<uint16_t>(bits)));
    }
    return decoded;
  }();
  return numbers.data();
}

}  // namespace emulation

namespace elite_ops::cuda {

template <typename scalar_t>
void mma_m16n8k16(float (&acc)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                  emulation::Place place = emulation::Place::current()) {
  emulation::mma_16_bit(acc, a, b, emulation::all_numbers<scalar_t>(), place);
}

inline void mma_m16n8k8(float (&acc)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                        emulation::Place place = emulation::Place::current()) {
  emulation::mma_tf32(acc, a, b, place);
}

inline uint32_t to_tf32(float x) { return emulation::to_tf32(x); }

inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row,
                              emulation::Place place = emulation::Place::current()) {
  emulation::ldmatrix_x4_trans(r, row, place);
}

}  // namespace elite_ops::cuda
