// Products of rows that go from global memory straight into the registers of a fragment.
//
// What is multiplied is the transposed: weights from shared memory are the operand of 16 rows,
// features the one of 8 columns. Lane 4g + t of a warp reads 4 words (16 bytes) of rows g and g + 8
// at a time: words 4t to 4t + 3 of each 16. Input channels may be multiplied in any order, so these
// are the words that the lane holds of the next two fragments. The weights lie in shared memory in
// that order. Output channels may lie in any order too: in theirs, a lane's sums are those of
// neighbouring channels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "mma.cuh"
#include "mma_sizes.cuh"
#include "packed.cuh"
#include "swizzle.cuh"

namespace elite_ops::cuda::tensor_core {

constexpr int kSlabRows = 16;  // rows of a warp at a time

template <typename T>
constexpr int kPerWord = 4 / sizeof(T);

// A row-major matrix of kWidth columns in shared memory, swizzled. Where rows from a multiple of 8
// on are taken as a matrix of their own, elements lie at the same places.
template <typename T, int kWidth>
__device__ __forceinline__ int element(int row, int column) {
  const int vector = swizzled<kWidth / kPerVector<T>>(row, column / kPerVector<T>);
  return vector * kPerVector<T> + column % kPerVector<T>;
}

// Elements of any type, loaded and stored at once. Handled one by one, halves would be moved about.
template <int kCount>
using Words = std::conditional_t<kCount == 2, uint2, uint4>;

// Some words; zeros where they don't exist.
template <int kCount, typename T>
__device__ __forceinline__ Words<kCount> load_words(const T* from, bool exist) {
  Words<kCount> words{};
  if (exist) words = *reinterpret_cast<const Words<kCount>*>(from);
  return words;
}
__device__ __forceinline__ uint32_t word_of(const uint2& words, int i) {
  return i == 0 ? words.x : words.y;
}
__device__ __forceinline__ uint32_t word_of(const uint4& words, int i) {
  return i < 2 ? word_of(uint2{words.x, words.y}, i) : word_of(uint2{words.z, words.w}, i - 2);
}

// Element `column` of row `row` of a matrix of `columns`.
template <typename T>
__device__ __forceinline__ T* at_row(T* matrix, uint32_t row, uint32_t columns, unsigned column) {
  return matrix + uint64_t{row} * columns + column;
}

// The output channels of a tile of kWidth that are a lane's: kWide neighbours out of each 8 *
// kWide, those of lanes 4g to 4g + 3 from kWide * g on.
template <typename T, int kWidth>
constexpr int kWide = std::min(kPerVector<T>, kWidth / 8);

// The place in shared memory of the weights of an output channel, that of the tile: the channels of
// a lane are those of one row, or of one in eight rows, of fragment after fragment.
template <typename T, int kWidth>
__device__ __forceinline__ int weight_column(unsigned channel) {
  constexpr int kGroup = 8 * kWide<T, kWidth>;
  return channel / kGroup * kGroup + channel % kWide<T, kWidth> * 8 +
         channel / kWide<T, kWidth> % 8;
}

// The sums of a slab: tiles of 16 output channels x two of 8 rows.
template <int kWidth>
using Tiles16x8 = float[kWidth / 16][2][4];

// How a lane reads a tile of the weights in shared memory: the places that it names to ldmatrix, or
// loads itself.
template <typename T, int kWidth>
class LaneOfWeights {
 public:
  __device__ __forceinline__ explicit LaneOfWeights(int lane) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int row = sizeof(T) == 2 ? lane / 16 * 8 + lane % 8 : lane % 4 + i * 4;
      places_[i] = element<T, kWidth>(row, sizeof(T) == 2 ? lane / 8 % 2 * 8 : lane / 4);
    }
  }

  // sums += `b`, of 8 rows each, * the kPartRows rows of `weights` from part * kPartRows on.
  __device__ __forceinline__ void multiply(const uint32_t (&b)[2][2], const T* weights, int part,
                                           Tiles16x8<kWidth>& sums) const {
    const T* rows = weights + part * kPartRows<T> * kWidth;
#pragma unroll
    for (int tile = 0; tile < kWidth / 16; ++tile) {
      uint32_t a[4];
      if constexpr (sizeof(T) == 2) {
        ldmatrix_x4_trans(a, &rows[places_[0] ^ tile * 16]);
      } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) a[i] = to_tf32(rows[places_[i / 2] ^ (tile * 16 + i % 2 * 8)]);
      }
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        if constexpr (sizeof(T) == 2) {
          mma_m16n8k16<T>(sums[tile][half], a, b[half]);
        } else {
          mma_m16n8k8(sums[tile][half], a, b[half]);
        }
      }
    }
  }

 private:
  static constexpr int kRows = sizeof(T) == 2 ? 1 : 2;
  int places_[kRows];  // in the first tile; a swizzle is an exclusive or, and so are other columns
};

// A part of a slab's rows, kBytes of each: what a lane holds of it.
template <typename T, int kBytes>
class SlabPart {
 public:
  static constexpr int kChannels = kBytes / sizeof(T);

  // `features`: of the part's first channel. `row`: that of a slab's row in every lane of its
  // number, modulo 16; -1 becomes zeros.
  __device__ __forceinline__ void load(const T* features, int c_in, int32_t row, unsigned lane) {
    int32_t from[2];  // shuffled before anything is loaded: no load waits for the other row
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      from[half] = __shfl_sync(0xffffffffu, row, static_cast<int>(lane / 4 + half * 8));
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const T* first = at_row(features, from[half], c_in, lane % 4 * kLoad * kPerWord<T>);
#pragma unroll
      for (int i = 0; i < kWords / kLoad; ++i) {
        const auto words = load_words<kLoad>(first + i * 4 * kLoad * kPerWord<T>, from[half] >= 0);
#pragma unroll
        for (int w = 0; w < kLoad; ++w) words_[half][i * kLoad + w] = word_of(words, w);
      }
    }
  }

  // sums += the part * the rows of `weights` from its first channel on.
  template <int kWidth>
  __device__ __forceinline__ void multiply(const T* weights,
                                           const LaneOfWeights<T, kWidth>& lane_of_weights,
                                           Tiles16x8<kWidth>& sums) const {
#pragma unroll
    for (int step = 0; step < kWords / 2; ++step) {
      uint32_t b[2][2];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const uint32_t word = words_[i / 2][step * 2 + i % 2];
        b[i / 2][i % 2] = sizeof(T) == 2 ? word : to_tf32(__uint_as_float(word));
      }
      lane_of_weights.multiply(b, weights, step, sums);
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

// Copies a tile of kWidth columns of the weights [c_in, c_out] to shared memory, by a block of
// kThreads; columns that don't exist become zero.
template <typename Part, int kWidth, int kThreads, typename T>
__device__ __forceinline__ void load_weights_of_parts(const T* weight, int c_in, int c_out,
                                                      int first_column, T* to) {
  constexpr int kVectorsAcross = kWidth / kPerVector<T>, kRowsAtOnce = kThreads / kVectorsAcross;
  static_assert(kThreads % kVectorsAcross == 0);
  const unsigned place = threadIdx.x % kVectorsAcross * kPerVector<T>;
  const bool exists = first_column + static_cast<int>(place) < c_out;
#pragma unroll 4
  for (int first = 0; first < c_in; first += kRowsAtOnce) {
    const int row = first + static_cast<int>(threadIdx.x / kVectorsAcross);
    if (row >= c_in) break;
    Packed<T, kPerVector<T>> vector{};
    if (exists) {
      vector = *reinterpret_cast<const Packed<T, kPerVector<T>>*>(
          at_row(weight, row, c_out, first_column + place));
    }
#pragma unroll
    for (int i = 0; i < kPerVector<T>; ++i) {
      to[element<T, kWidth>(Part::weight_row(row), weight_column<T, kWidth>(place + i))] =
          vector.values[i];
    }
  }
}

}  // namespace elite_ops::cuda::tensor_core
