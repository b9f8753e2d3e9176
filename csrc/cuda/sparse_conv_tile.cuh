// The step that forward and weight gradient share: a warp multiplies a 16-row fragment with a
// matrix of 64 columns in shared memory, on tensor cores.
#pragma once

#include <cstdint>

#include "mma.cuh"
#include "swizzle.cuh"

namespace elite_ops::cuda::tensor_core {

constexpr int kColumns = 64;   // columns of a block's tile
constexpr int kSlabRows = 16;  // rows of a warp: the height of an mma
constexpr int kTilesPerSlab = kColumns / 8;

template <typename T>
constexpr int kPerVector = 16 / sizeof(T);  // elements of a 16-byte vector
template <typename T>
constexpr int kVectors = kColumns / kPerVector<T>;  // vectors of a row of kColumns
template <typename T>
constexpr int kPartRows = 32 / sizeof(T);  // the depth of an mma

// A row-major matrix of kWidth columns in shared memory, swizzled. Where rows from a multiple of 8
// on are taken as a matrix of their own, elements lie at the same places.
template <typename T, int kWidth = kColumns>
__device__ __forceinline__ int element(int row, int column) {
  const int vector = swizzled<kWidth / kPerVector<T>>(row, column / kPerVector<T>);
  return vector * kPerVector<T> + column % kPerVector<T>;
}

// sums += a * the kPartRows rows of `b` that start with row part * kPartRows.
template <typename T, int kWidth = kColumns>
__device__ __forceinline__ void multiply_part(const uint32_t (&a)[4], const T* b, int part,
                                              int lane, float (&sums)[kWidth / 8][4]) {
#pragma unroll
  for (int tile = 0; tile < kWidth / 8; tile += 2) {
    if constexpr (sizeof(T) == 2) {
      uint32_t r[4];
      ldmatrix_x4_trans(r, &b[element<T, kWidth>(part * 16 + lane % 16, (tile + lane / 16) * 8)]);
      mma_m16n8k16<T>(sums[tile], a, {r[0], r[1]});
      mma_m16n8k16<T>(sums[tile + 1], a, {r[2], r[3]});
    } else {
#pragma unroll
      for (int side = 0; side < 2; ++side) {
        const int row = part * 8 + lane % 4, column = (tile + side) * 8 + lane / 4;
        mma_m16n8k8(sums[tile + side], a,
                    {to_tf32(b[element<T, kWidth>(row, column)]),
                     to_tf32(b[element<T, kWidth>(row + 4, column)])});
      }
    }
  }
}

}  // namespace elite_ops::cuda::tensor_core
