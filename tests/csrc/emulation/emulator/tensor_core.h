// Warp-level matrix instructions: the same elements in the same lanes and registers as on the
// device. The sums are exact to double precision and rounded once; the device's own sums differ
// from them, and between devices, in the last bits.
#pragma once

#include <cstdint>

#include "emulator/block.h"

namespace emulation {

// `numbers` gives the value of each of the 65536 elements.
void mma_16_bit(float (&acc)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                const float* numbers, Place place);
void mma_tf32(float (&acc)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Place place);
uint32_t to_tf32(float x);

// Loads four transposed matrices of 8 x 8 16-bit elements.
void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row, Place place);

}  // namespace emulation
