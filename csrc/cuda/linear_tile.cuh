// Products of rows that go from global memory straight into the registers of a fragment.
//
// Lane 4g + t of a warp reads 4 words (16 bytes) at a time: words 4t to 4t + 3 of each 16 of its
// rows g and g + 8. Input channels may be multiplied in any order, so these are the words that the
// lane holds of the next two fragments. The weights lie in shared memory in that order. Output
// channels may lie in any order too: in theirs, a lane's sums are those of neighbouring channels,
// 16 bytes of the result.
#pragma once

#include <cstdint>

#include "async_copy.cuh"
#include "sparse_conv_tile.cuh"

namespace elite_ops::cuda::tensor_core {

template <typename T>
constexpr int kPerWord = 4 / sizeof(T);

// Elements of any type, loaded and stored at once. Handled one by one, halves would be moved about.
template <int kCount>
struct __attribute__((may_alias)) Words {
  alignas(4 * kCount) uint32_t values[kCount];
};

// Of some words; zeros where they don't exist.
template <int kCount, typename T>
__device__ __forceinline__ Words<kCount> load_words(const T* from, bool exist) {
  Words<kCount> words{};
  if (exist) words = *reinterpret_cast<const Words<kCount>*>(from);
  return words;
}

// Element `column` of row `row` of a matrix of `columns`.
template <typename T>
__device__ __forceinline__ T* at_row(T* matrix, uint32_t row, uint32_t columns, unsigned column) {
  return matrix + uint64_t{row} * columns + column;
}

// A tile of kWidth columns of the weights in shared memory, as a lane reads it: `element` of the
// columns, for the rows of one product.
template <typename T, int kWidth>
class LaneOfWeights {
 public:
  __device__ __forceinline__ explicit LaneOfWeights(int lane) {
#pragma unroll
    for (int i = 0; i < kOffsets; ++i) {
      if constexpr (sizeof(T) == 2) {
        offsets_[i] = element<T, kWidth>(lane % 16, i * 16 + lane / 16 * 8);
      } else {
        offsets_[i] = element<T, kWidth>(lane % 4 + i % 2 * 4, i / 2 * 8 + lane / 4);
      }
    }
  }

  // sums += a * the kPartRows rows of `weights` that start with row part * kPartRows.
  __device__ __forceinline__ void multiply(const uint32_t (&a)[4], const T* weights, int part,
                                           float (&sums)[kWidth / 8][4]) const {
    const T* rows = weights + part * kPartRows<T> * kWidth;
#pragma unroll
    for (int tile = 0; tile < kWidth / 8; tile += kTiles) {
      if constexpr (sizeof(T) == 2) {
        uint32_t r[4];
        ldmatrix_x4_trans(r, &rows[offsets_[tile / 2]]);
        mma_m16n8k16<T>(sums[tile], a, {r[0], r[1]});
        mma_m16n8k16<T>(sums[tile + 1], a, {r[2], r[3]});
      } else {
        mma_m16n8k8(sums[tile], a,
                    {to_tf32(rows[offsets_[tile * 2]]), to_tf32(rows[offsets_[tile * 2 + 1]])});
      }
    }
  }

 private:
  static constexpr int kTiles = sizeof(T) == 2 ? 2 : 1;  // of 8 columns, at a time
  static constexpr int kOffsets = sizeof(T) == 2 ? kWidth / 16 : kWidth / 4;
  int offsets_[kOffsets];
};

// A part of a slab's rows, kBytes of each: what a lane holds of it.
template <typename T, int kBytes>
class SlabPart {
 public:
  static constexpr int kChannels = kBytes / sizeof(T);

  // `features`: of the part's first channel. Rows that are -1 become zero.
  __device__ __forceinline__ void load(const T* features, int c_in, const int32_t (&rows)[2],
                                       unsigned lane) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const T* row = at_row(features, rows[half], c_in, lane % 4 * kLoad * kPerWord<T>);
#pragma unroll
      for (int i = 0; i < kWords / kLoad; ++i) {
        const Words<kLoad> words =
            load_words<kLoad>(row + i * 4 * kLoad * kPerWord<T>, rows[half] >= 0);
#pragma unroll
        for (int w = 0; w < kLoad; ++w) words_[half][i * kLoad + w] = words.values[w];
      }
    }
  }

  // sums += the part * the rows of `weights` from its first channel on.
  template <int kWidth>
  __device__ __forceinline__ void multiply(const T* weights,
                                           const LaneOfWeights<T, kWidth>& lane_of_weights,
                                           float (&sums)[kWidth / 8][4]) const {
#pragma unroll
    for (int step = 0; step < kWords / 2; ++step) {
      uint32_t fragment[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        fragment[i] = words_[i % 2][step * 2 + i / 2];
        if constexpr (sizeof(T) == 4) fragment[i] = to_tf32(__uint_as_float(fragment[i]));
      }
      lane_of_weights.multiply(fragment, weights, step, sums);
    }
  }

  // The row in shared memory of the weights of an input channel.
  __device__ __forceinline__ static int weight_row(unsigned channel) {
    const unsigned word = channel / kPerWord<T>, i = word % kLoad;
    const unsigned step = word / (4 * kLoad) * (kLoad / 2) + i / 2;
    return step * kPartRows<T> + i % 2 * (kPartRows<T> / 2) + word / kLoad % 4 * kPerWord<T> +
           channel % kPerWord<T>;
  }

 private:
  static constexpr int kWords = kBytes / 16;                   // of a row
  static constexpr int kLoad = kBytes % 64 == 0 ? 4 : kWords;  // at a time
  uint32_t words_[2][kWords];
};

// The sums of lane t of four are those of columns kPerVector * t and following, out of each
// kColumnsOfQuad.
template <typename T>
constexpr int kColumnsOfQuad = 4 * kPerVector<T>;

// The column in shared memory of the weights of an output channel.
template <typename T>
__device__ __forceinline__ int weight_column(unsigned channel) {
  const unsigned lane_of_four = channel / kPerVector<T> % 4, tile = channel % kPerVector<T> / 2;
  return channel / kColumnsOfQuad<T> * kColumnsOfQuad<T> + tile * 8 + lane_of_four * 2 +
         channel % 2;
}

// Starts the copies of the weights [c_in, c_out] of `tiles` tiles of kWidth columns, one tile
// behind the other, by a block of kThreads; columns that don't exist become zero.
template <typename Part, int kWidth, int kThreads, typename T>
__device__ __forceinline__ void load_weights_of_parts(const T* weight, int c_in, int c_out,
                                                      int first_column, int tiles, T* to) {
  constexpr int kWordsAcross = kWidth / kPerWord<T>;
  static_assert(kThreads % kWordsAcross == 0);
  const unsigned place = threadIdx.x % kWordsAcross * kPerWord<T>;
  for (int tile = 0; tile < tiles; ++tile, to += c_in * kWidth) {
    const int column = first_column + tile * kWidth + static_cast<int>(place);
    const bool exists = column < c_out;
#pragma unroll 4
    for (int row = static_cast<int>(threadIdx.x / kWordsAcross); row < c_in;
         row += kThreads / kWordsAcross) {
      cp_async_4(&to[element<T, kWidth>(Part::weight_row(row), weight_column<T>(place))],
                 at_row(weight, row, c_out, exists ? column : 0), exists);
    }
  }
}

}  // namespace elite_ops::cuda::tensor_core
