// Tensor-core products of a warp's fragments, and the loads that fill fragments from shared memory.
// Every function is called by all 32 lanes of a warp together.
//
// Where the elements of a fragment lie, with g = lane / 4 and t = lane % 4 (PTX ISA, "Warp-level
// matrix instructions"):
// accumulator, 16 x 8: acc[i] is row g + 8 * (i / 2), column 2 * t + i % 2
// 16-bit a, 16 x 16: a[i] is row g + 8 * (i % 2), columns 2 * t + 8 * (i / 2) and the next
// 16-bit b, 16 x 8: b[i] is rows 2 * t + 8 * i and the next, column g
// tf32 a, 16 x 8: a[i] is row g + 8 * (i % 2), column t + 4 * (i / 2)
// tf32 b, 8 x 8: b[i] is row t + 4 * i, column g
// The element with the lower number is in the lower half of a register.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "async_copy.cuh"

#ifdef __CUDACC__

namespace elite_ops::cuda {

// acc += a * b for 16-bit elements: 16 x 8 += 16 x 16 * 16 x 8.
template <typename scalar_t>
__device__ __forceinline__ void mma_m16n8k16(float (&acc)[4], const uint32_t (&a)[4],
                                             const uint32_t (&b)[2]) {
  static_assert(std::is_same_v<scalar_t, __half> || std::is_same_v<scalar_t, __nv_bfloat16>);
  if constexpr (std::is_same_v<scalar_t, __half>) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
}

// acc += a * b for tf32 elements: 16 x 8 += 16 x 8 * 8 x 8. Bits that tf32 lacks are ignored, which
// truncates: round with to_tf32 first.
__device__ __forceinline__ void mma_m16n8k8(float (&acc)[4], const uint32_t (&a)[4],
                                            const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Rounds to 10 bits of mantissa, to nearest, ties away from zero.
__device__ __forceinline__ uint32_t to_tf32(float x) {
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}

// Loads four transposed 8 x 8 matrices of 16-bit elements. Lane l gives the address, a multiple of
// 16 in shared memory, of row l % 8 of matrix l / 8; r[i] receives two elements of matrix i: of
// rows 2 * (lane % 4) and the next, column lane / 4.
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

}  // namespace elite_ops::cuda

#else
#include "emulated_mma.h"
#endif
