// Products of rows that go from global memory straight into the registers of a fragment.
//
// Lane 4g + t of a warp reads 4 words (16 bytes) at a time: words 4t to 4t + 3 of each 16 of its
// rows g and g + 8. Input channels may be multiplied in any order, so these are the words that the
// lane holds of the next two fragments. The weights lie in shared memory in that order. Output
// channels may lie in any order too: in theirs, a lane's sums are those of neighbouring channels,
// 16 bytes of the result.
#pragma once

#include <cstdint>
#include <cstring>

#include "async_copy.cuh"
#include "packed.cuh"
#include "sparse_conv_tile.cuh"

namespace elite_ops::cuda::tensor_core {

template <typename T>
constexpr int kPerWord = 4 / sizeof(T);

template <typename To, typename From>
__device__ __forceinline__ To same_bits(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof(to));
  return to;
}

// A part of a slab's rows, kBytes of each: what a lane holds of it.
template <typename T, int kBytes>
class SlabPart {
 public:
  static constexpr int kChannels = kBytes / sizeof(T);

  // `features`: of the part's first channel. Rows that are -1 become zero.
  __device__ __forceinline__ void load(const T* features, int64_t c_in, const int32_t (&rows)[2],
                                       int lane) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const T* row = features + rows[half] * c_in + lane % 4 * kLoad * kPerWord<T>;
#pragma unroll
      for (int i = 0; i < kWords / kLoad; ++i) {
        Packed<uint32_t, kLoad> words{};
        if (rows[half] >= 0) {
          words = same_bits<Packed<uint32_t, kLoad>>(
              *reinterpret_cast<const Packed<T, kLoad * kPerWord<T>>*>(row + i * 4 * kLoad *
                                                                                 kPerWord<T>));
        }
#pragma unroll
        for (int w = 0; w < kLoad; ++w) words_[half][i * kLoad + w] = words.values[w];
      }
    }
  }

  // sums += the part * the rows of `weights` from its first channel on.
  template <int kWidth>
  __device__ __forceinline__ void multiply(const T* weights, int lane,
                                           float (&sums)[kWidth / 8][4]) const {
#pragma unroll
    for (int step = 0; step < kWords / 2; ++step) {
      uint32_t fragment[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        fragment[i] = words_[i % 2][step * 2 + i / 2];
        if constexpr (sizeof(T) == 4) fragment[i] = to_tf32(__uint_as_float(fragment[i]));
      }
      multiply_part<T, kWidth>(fragment, weights, step, lane, sums);
    }
  }

  // The row in shared memory of the weights of an input channel.
  __device__ __forceinline__ static int weight_row(int channel) {
    const int word = channel / kPerWord<T>, i = word % kLoad;
    const int step = word / (4 * kLoad) * (kLoad / 2) + i / 2, lane_of_four = word / kLoad % 4;
    return step * kPartRows<T> + i % 2 * (kPartRows<T> / 2) + lane_of_four * kPerWord<T> +
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
__device__ __forceinline__ int weight_column(int channel) {
  const int lane_of_four = channel / kPerVector<T> % 4, tile = channel % kPerVector<T> / 2;
  return channel / kColumnsOfQuad<T> * kColumnsOfQuad<T> + tile * 8 + lane_of_four * 2 +
         channel % 2;
}

// Starts the copies of the weights [c_in, c_out] of `tiles` tiles of kWidth columns, one tile
// behind the other, by a block of kThreads; columns that don't exist become zero.
template <typename Part, int kWidth, int kThreads, typename T>
__device__ __forceinline__ void load_weights_of_parts(const T* weight, int c_in, int64_t c_out,
                                                      int64_t first_column, int tiles, T* to) {
  constexpr int kWordsAcross = kWidth / kPerWord<T>;
  static_assert(kThreads % kWordsAcross == 0);
  const int thread = static_cast<int>(threadIdx.x);
  const int place = thread % kWordsAcross * kPerWord<T>;
  for (int tile = 0; tile < tiles; ++tile, to += c_in * kWidth) {
    const int64_t column = first_column + tile * kWidth + place;
    const T* from = weight + (column < c_out ? column : 0);
#pragma unroll 4
    for (int row = thread / kWordsAcross; row < c_in; row += kThreads / kWordsAcross) {
      cp_async_4(&to[element<T, kWidth>(Part::weight_row(row), weight_column<T>(place))],
                 from + row * c_out, column < c_out);
    }
  }
}

}  // namespace elite_ops::cuda::tensor_core
