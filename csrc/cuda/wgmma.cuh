// Tensor-core products of a warpgroup (sm_90a): operands in shared memory, sums in registers,
// computed beside the program. A warpgroup is four warps, the first of them a multiple of four; all
// its 128 threads call every function here together, except fence_async_proxy.
//
// wgmma_fence, any number of products, wgmma_commit; the sums are nobody's from the fence until
// wgmma_wait says that the group is done, and so is the shared memory that the products read. They
// read it through the async proxy: what a thread wrote there by other means, cp.async included, has
// to pass fence_async_proxy in the writing thread before the barrier that precedes the product.
//
// The sums, 64 x 64: warp w has rows 16 * w to 16 * w + 15, and sums[tile] is the accumulator of an
// m16n8k16 product (mma.cuh) of columns 8 * tile to 8 * tile + 7.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "async_copy.cuh"

namespace elite_ops::cuda {

constexpr int kWarpgroupThreads = 128;
constexpr int kWarpgroupRows = 64;

// The operands: rows of 128 bytes whose 16-byte vectors lie as swizzled<8> places them. That is the
// 128-byte swizzle of the device where the matrix starts on a multiple of this, at which the
// pattern repeats.
constexpr int kSwizzleBytes = 1024;

// What the device knows of a matrix in shared memory (PTX ISA, "Matrix descriptor"): its address,
// the distance between groups of eight rows, and the swizzle; the distance between columns of such
// groups, in bits 16 to 29, is not used by an operand that is one swizzle wide. `start` is where
// the first row would be without the swizzle: at a row that is a multiple of 8, from any vector on.
// A descriptor plus n starts n vectors later.
__device__ __forceinline__ uint64_t matrix_descriptor(const void* start) {
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62;
  constexpr uint64_t kGroupOfRows = uint64_t{kSwizzleBytes / 16} << 32;
  constexpr uint64_t kUnused = uint64_t{1} << 16;
  return kSwizzle128 | kGroupOfRows | kUnused | shared_address(start) / 16;
}

}  // namespace elite_ops::cuda

#ifdef __CUDACC__

namespace elite_ops::cuda {

// Makes the calling thread's writes to shared memory visible to products.
__device__ __forceinline__ void fence_async_proxy() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// An operand for each register of the sums, to say that an instruction reads and writes them all.
#define ELITE_SUMS_TILE(t) "+f"(sums[t][0]), "+f"(sums[t][1]), "+f"(sums[t][2]), "+f"(sums[t][3])
#define ELITE_SUMS                                                                \
  ELITE_SUMS_TILE(0), ELITE_SUMS_TILE(1), ELITE_SUMS_TILE(2), ELITE_SUMS_TILE(3), \
      ELITE_SUMS_TILE(4), ELITE_SUMS_TILE(5), ELITE_SUMS_TILE(6), ELITE_SUMS_TILE(7)

// Hands the sums over to the products that follow.
__device__ __forceinline__ void wgmma_fence(float (&sums)[8][4]) {
  asm volatile("wgmma.fence.sync.aligned;" : ELITE_SUMS::"memory");
}

// Makes a group of the products since the last commit.
__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

// Waits until at most `kGroups` of the latest groups are under way.
template <int kGroups>
__device__ __forceinline__ void wgmma_wait(float (&sums)[8][4]) {
  asm volatile("wgmma.wait_group.sync.aligned %32;" : ELITE_SUMS : "n"(kGroups) : "memory");
}

// sums += a * b: 64 x 64 += 64 x 16 * 16 x 64. `a` describes the vector of a's first row that the
// product starts with, `b` the row of b.
#define ELITE_WGMMA(type)                                                                  \
  asm volatile(                                                                            \
      "{\n.reg .pred add;\nsetp.eq.u32 add, 0, 0;\n"                                       \
      "wgmma.mma_async.sync.aligned.m64n64k16.f32." type "." type                          \
      " {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, " \
      "%18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, %32, %33, "  \
      "add, 1, 1, 0, 1;\n}" /* signs of a and b; a by rows of k, b by rows of n */         \
      : ELITE_SUMS                                                                         \
      : "l"(a), "l"(b)                                                                     \
      : "memory")

template <typename scalar_t>
__device__ __forceinline__ void wgmma_m64n64k16(float (&sums)[8][4], uint64_t a, uint64_t b) {
  static_assert(std::is_same_v<scalar_t, __half> || std::is_same_v<scalar_t, __nv_bfloat16>);
  if constexpr (std::is_same_v<scalar_t, __half>) {
    ELITE_WGMMA("f16");
  } else {
    ELITE_WGMMA("bf16");
  }
}

#undef ELITE_WGMMA
#undef ELITE_SUMS
#undef ELITE_SUMS_TILE

}  // namespace elite_ops::cuda

#else
#include "emulated_wgmma.h"
#endif
