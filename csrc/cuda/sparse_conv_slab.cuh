// What the tensor-core kernels do with a slab: the 16 output rows of one warp.
#pragma once

#include <type_traits>

#include "mma.cuh"
#include "sparse_conv_rows.cuh"
#include "sparse_conv_tile.cuh"

namespace elite_ops::cuda::tensor_core {

constexpr int kOffsets = 32;  // offsets whose rows are in shared memory at a time

template <typename T>
struct Arguments {
  SparseConvShape shape;
  const T* features;
  const T* weight;
  const int32_t* neighbors;
  const int32_t* order;
  SparseConvEpilogue<T, float> epilogue;
  int64_t column_tiles;
  T* out;
  int32_t* error_flag;
};

// Calls `launch` with the largest part of a row of features, in bytes, that a kernel is compiled
// for and that divides the row.
template <typename T, typename Launch>
cudaError_t launch_for_chunk(const SparseConvShape& shape, const Launch& launch) {
  const int64_t row_bytes = shape.c_in * sizeof(T);
  if (row_bytes % 128 == 0) return launch(std::integral_constant<int, 128>{});
  if (row_bytes % 64 == 0) return launch(std::integral_constant<int, 64>{});
  return launch(std::integral_constant<int, 32>{});
}

// One step of a pipeline: a chunk of input channels under one of the batch's offsets.
struct Step {
  uint32_t remaining;  // the offsets from this one on, as bits
  int chunk;

  __device__ int offset() const { return __ffs(static_cast<int>(remaining)) - 1; }
  __device__ void advance(int chunks) {
    if (++chunk < chunks) return;
    chunk = 0;
    remaining &= remaining - 1;
  }
};

// Fetches the slab's rows under up to kOffsets offsets, those of an offset kStride from those of
// the one before; bit o of the result says whether offset first_offset + o meets any of them.
template <int kStride, typename T>
__device__ __forceinline__ uint32_t fetch_rows(const Arguments<T>& args, int64_t first_row,
                                               int64_t first_offset, int lane, int32_t* rows) {
  uint32_t mask = 0;
#pragma unroll
  for (int o = 0; o < kOffsets; o += 2) {  // two offsets at a time, one in each half of the warp
    const int offset = o + lane / kSlabRows, slab_row = lane % kSlabRows;
    const int64_t k = first_offset + offset;
    int32_t row = -1;
    if (k < args.shape.num_offsets) {
      row = neighbor_row(args.shape, args.neighbors, k, first_row + slab_row, args.error_flag);
    }
    rows[offset * kStride + slab_row] = row;
    const unsigned valid = __ballot_sync(0xffffffffu, row >= 0);
    if (valid & 0xffffu) mask |= 1u << o;
    if (valid >> 16) mask |= 2u << o;
  }
  return mask;
}

// Starts the copies of kVectorsA vectors of each of the slab's rows.
template <int kVectorsA, typename T>
__device__ __forceinline__ void load_slab(const Arguments<T>& args, const int32_t* rows,
                                          int64_t first_channel, int lane, T* a) {
#pragma unroll
  for (int e = lane; e < kSlabRows * kVectorsA; e += 32) {
    const int row = e / kVectorsA, vector = e % kVectorsA;
    const int32_t from = rows[row];
    cp_async_16(&a[swizzled<kVectorsA>(row, vector) * kPerVector<T>],
                args.features + (from < 0 ? 0 : from) * args.shape.c_in + first_channel +
                    vector * kPerVector<T>,
                from >= 0);
  }
}

// Starts the copies of kRows rows and kColumns columns of the weights of offset `k`, by a block of
// kThreads; columns that don't exist become zero.
template <int kRows, int kThreads, typename T>
__device__ __forceinline__ void load_weights(const Arguments<T>& args, int64_t k, int64_t first_row,
                                             int64_t first_column, T* b) {
  const T* weight = args.weight + (k * args.shape.c_in + first_row) * args.shape.c_out;
#pragma unroll
  for (int e = static_cast<int>(threadIdx.x); e < kRows * kVectors<T>; e += kThreads) {
    const int row = e / kVectors<T>, place = e % kVectors<T> * kPerVector<T>;
    const int64_t column = first_column + place;
    const bool exists = column < args.shape.c_out;
    cp_async_16(&b[element<T>(row, place)], weight + row * args.shape.c_out + (exists ? column : 0),
                exists);
  }
}

// sums += the slab's chunk `a` * the chunk `b` of the weights.
template <int kVectorsA, int kWidth, typename T>
__device__ __forceinline__ void multiply_slab(const T* a, const T* b, int lane,
                                              float (&sums)[kWidth / 8][4]) {
#pragma unroll 2
  for (int part = 0; part < kVectorsA / 2; ++part) {
    const int row = lane % 16, vector = part * 2 + lane / 16;
    uint32_t fragment[4];
    ldmatrix_x4(fragment, &a[swizzled<kVectorsA>(row, vector) * kPerVector<T>]);
    if constexpr (sizeof(T) == 4) {
#pragma unroll
      for (uint32_t& word : fragment) word = to_tf32(__uint_as_float(word));
    }
    multiply_part<T, kWidth>(fragment, b, part, lane, sums);
  }
}

template <int kWidth, typename T>
__device__ __forceinline__ void store_slab(const Arguments<T>& args, int64_t first_row,
                                           int64_t first_column, int lane,
                                           const float (&sums)[kWidth / 8][4]) {
  struct alignas(2 * sizeof(T)) Pair {
    T first, second;
  };
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int64_t row =
        output_row(args.shape, args.order, first_row + lane / 4 + half * 8, args.error_flag);
    if (row < 0) continue;
#pragma unroll
    for (int tile = 0; tile < kWidth / 8; ++tile) {
      const int64_t column = first_column + tile * 8 + lane % 4 * 2;
      if (column >= args.shape.c_out) continue;
      const auto finish = [&](int i) {
        return static_cast<T>(apply_epilogue<T>(args.shape, args.epilogue, row, column + i,
                                                sums[tile][half * 2 + i]));
      };
      *reinterpret_cast<Pair*>(args.out + row * args.shape.c_out + column) = {finish(0), finish(1)};
    }
  }
}

}  // namespace elite_ops::cuda::tensor_core
