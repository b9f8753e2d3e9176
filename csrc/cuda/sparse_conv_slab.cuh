// What the tensor-core kernels do with a slab: the 16 output rows of one warp.
#pragma once

#include <algorithm>
#include <type_traits>

#include "launch.cuh"
#include "mma.cuh"
#include "sparse_conv_rows.cuh"
#include "sparse_conv_tile.cuh"

namespace elite_ops::cuda::tensor_core {

constexpr int kOffsets = 32;  // offsets whose rows are in shared memory at a time

// The output, cut into tiles of kRows x kWidth.
template <int kRows, int kWidth = kColumns>
struct Tiles {
  unsigned across;  // side by side

  explicit Tiles(const SparseConvShape& shape)
      : across(static_cast<unsigned>((shape.c_out + kWidth - 1) / kWidth)) {}
  ELITE_HOST_DEVICE unsigned count(int64_t rows) const {
    return static_cast<unsigned>((rows + kRows - 1) / kRows) * across;
  }
  __device__ __forceinline__ int64_t first_row(unsigned tile) const {
    return int64_t{tile / across} * kRows;
  }
  __device__ __forceinline__ int first_column(unsigned tile) const {
    return static_cast<int>(tile % across) * kWidth;
  }
};

// Cuts the number of blocks, one for each tile, in a padded buffer: most tiles may hold no valid
// row, and a block that finds nothing to do has to be started too. Leaves twice what runs at once,
// `at_once` blocks to a multiprocessor.
template <typename T>
cudaError_t limit_blocks(const SparseConvArguments<T>& args, int at_once, int64_t* blocks) {
  if (args.num_rows == nullptr) return cudaSuccess;
  int device = 0, multiprocessors = 0;
  ELITE_CUDA_TRY(cudaGetDevice(&device));
  ELITE_CUDA_TRY(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
  *blocks = std::min(*blocks, int64_t{2} * multiprocessors * at_once);
  return cudaSuccess;
}

// Calls `launch` with the largest part of a row of features, in bytes, that a kernel is compiled
// for and that divides the rows of every operand.
template <typename T, typename Launch>
cudaError_t launch_for_chunk(const SparseConvArguments<T>& args, const Launch& launch) {
  const int64_t row_bytes = (args.shape.c_in | args.shortcut.channels) * sizeof(T);
  if (row_bytes % 128 == 0) return launch(std::integral_constant<int, 128>{});
  if (row_bytes % 64 == 0) return launch(std::integral_constant<int, 64>{});
  return launch(std::integral_constant<int, 32>{});
}

// How many chunks of input channels the offsets of a batch have.
struct Chunks {
  int each;
  int of_shortcut;
  uint32_t shortcut;  // as a bit; 0 where the batch doesn't hold it

  template <typename T>
  __device__ Chunks(const SparseConvArguments<T>& args, int64_t first_offset, int channels)
      : each(static_cast<int>(args.shape.c_in) / channels),
        of_shortcut(static_cast<int>(args.shortcut.channels) / channels),
        shortcut(args.shape.num_offsets - first_offset < kOffsets
                     ? 1u << (args.shape.num_offsets - first_offset)
                     : 0) {}
  __device__ int of(int offset) const { return shortcut >> offset & 1 ? of_shortcut : each; }
  __device__ int total(uint32_t offsets) const {
    return __popc(offsets & ~shortcut) * each + (offsets & shortcut ? of_shortcut : 0);
  }
};

// One step of a pipeline: a chunk of input channels under one of the batch's offsets.
struct Step {
  uint32_t remaining;  // the offsets from this one on, as bits
  int chunk;

  __device__ int offset() const { return __ffs(static_cast<int>(remaining)) - 1; }
  __device__ void advance(const Chunks& chunks) {
    if (++chunk < chunks.of(offset())) return;
    chunk = 0;
    remaining &= remaining - 1;
  }
};

// Fetches the slab's rows under up to kOffsets offsets, those of an offset kStride from those of
// the one before; bit o of the result says whether offset first_offset + o meets any of them.
template <int kStride, typename T>
__device__ __forceinline__ uint32_t fetch_rows(const SparseConvArguments<T>& args,
                                               int64_t first_row, int64_t first_offset, int lane,
                                               int32_t* rows) {
  const int half = lane / kSlabRows, slab_row = lane % kSlabRows;
  TableColumn<T> column(args, valid_rows(args.num_rows, args.shape.num_out), first_offset + half,
                        first_row + slab_row);
  int32_t found[kOffsets / 2];  // two offsets at a time, one in each half of the warp
  bool outside = false;
#pragma unroll
  for (int o = 0; o < kOffsets; o += 2) {
    found[o / 2] = column.next(args, 2, outside);
  }
  uint32_t mask = 0;
#pragma unroll
  for (int o = 0; o < kOffsets; o += 2) {
    rows[(o + half) * kStride + slab_row] = found[o / 2];
    const unsigned valid = __ballot_sync(0xffffffffu, found[o / 2] >= 0);
    if (valid & 0xffffu) mask |= 1u << o;
    if (valid >> 16) mask |= 2u << o;
  }
  report_if(outside, args.error_flag);
  return mask;
}

// Starts the copies of kVectorsA vectors of each of the slab's rows.
template <int kVectorsA, typename T>
__device__ __forceinline__ void load_slab(const Operand<T>& operand, const int32_t* rows,
                                          int64_t first_channel, int lane, T* a) {
#pragma unroll
  for (int e = lane; e < kSlabRows * kVectorsA; e += 32) {
    const int row = e / kVectorsA, vector = e % kVectorsA;
    const int32_t from = rows[row];
    cp_async_16(&a[swizzled<kVectorsA>(row, vector) * kPerVector<T>],
                operand.features + (from < 0 ? 0 : from) * operand.channels + first_channel +
                    vector * kPerVector<T>,
                from >= 0);
  }
}

// Starts the copies of kRows rows and kColumns columns of the operand's weights, by a block of
// kThreads; columns that don't exist become zero.
template <int kRows, int kThreads, typename T>
__device__ __forceinline__ void load_weights(const Operand<T>& operand, int64_t c_out,
                                             int64_t first_row, int first_column, T* b) {
  const T* weight = operand.weight + first_row * c_out;
#pragma unroll
  for (int e = static_cast<int>(threadIdx.x); e < kRows * kVectors<T>; e += kThreads) {
    const int row = e / kVectors<T>, place = e % kVectors<T> * kPerVector<T>;
    const int column = first_column + place;
    const bool exists = column < c_out;
    cp_async_16(&b[element<T>(row, place)], weight + row * c_out + (exists ? column : 0), exists);
  }
}

// sums += the slab's chunk `a` * the chunk `b` of the weights.
template <int kVectorsA, int kWidth, typename T>
__device__ __forceinline__ void multiply_slab(const T* a, const T* b, int lane,
                                              float (&sums)[kWidth / 8][4]) {
  // In float, more would spill registers.
#pragma unroll(sizeof(T) == 2 ? 2 : 1)
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
__device__ __forceinline__ void store_slab(const SparseConvArguments<T>& args, int64_t first_row,
                                           int64_t first_column, int lane,
                                           float (&sums)[kWidth / 8][4]) {
  // Read again: kept over the main loop, the number would cost registers.
  const int64_t num_rows = valid_rows(args.num_rows, args.shape.num_out);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int64_t i = first_row + lane / 4 + half * 8, row = output_row(args, num_rows, i);
    if (row < 0) continue;
    OutputRow<T>(args, row, i)
        .template write<2, kWidth / 8>(
            first_column + lane % 4 * 2, 8,
            [&](int tile, int i) -> float& { return sums[tile][half * 2 + i]; });
  }
}

}  // namespace elite_ops::cuda::tensor_core
