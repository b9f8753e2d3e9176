// The rows that a slab of a linear map reads, and what happens to its sums before they are written.
#pragma once

#include <cstdint>
#include <type_traits>

#include "linear_fused.h"
#include "linear_tile.cuh"
#include "packed.cuh"

namespace elite_ops::cuda::tensor_core {

// Rows g and g + 8 of a slab, as a lane of four sees them: numbers of rows of one matrix, -1 where
// there is none.
struct RowPair {
  int32_t rows[2];

  // What rows `first` and `first` + 8 of the result read. `check` has to follow.
  template <typename T>
  __device__ __forceinline__ static RowPair fetch(const GatheredRows<T>& from, uint32_t first,
                                                  uint32_t num_rows) {
    RowPair pair;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint32_t i = first + half * 8;
      pair.rows[half] = i < num_rows ? static_cast<int32_t>(i) : -1;
      if (from.rows && i < num_rows) pair.rows[half] = from.rows[i];
    }
    return pair;
  }

  // Sets `outside` where a row doesn't exist, which makes it none. Apart from the loads, so that
  // nothing waits for them earlier than it has to.
  template <typename T>
  __device__ __forceinline__ void check(const GatheredRows<T>& from, bool& outside) {
#pragma unroll
    for (int32_t& row : rows) {
      const bool is_wrong = row < -1 || row >= from.num_rows;
      outside |= is_wrong;
      row = is_wrong ? -1 : row;
    }
  }
};

// The sums of kWidth columns, of which a lane owns kGroups times a vector in each of its two rows.
template <typename T, int kWidth>
class SlabSums {
 public:
  __device__ __forceinline__ float (&tiles()) [kWidth / 8][4] { return sums_; }

  // Of rows that are none: weights that are infinite or NaN made NaN of their zeros.
  __device__ __forceinline__ void clear_missing(const RowPair& pair) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if (pair.rows[half] >= 0) continue;
#pragma unroll
      for (auto& tile : sums_) tile[half * 2] = tile[half * 2 + 1] = 0;
    }
  }

  // `bias`: of the tile's columns, in shared memory.
  __device__ __forceinline__ void add_bias(const float* bias, int lane) {
#pragma unroll
    for (int g = 0; g < kGroups; ++g) {
#pragma unroll
      for (int i = 0; i < kWide; i += 4) {
        const auto four = *reinterpret_cast<const Packed<float, 4>*>(&bias[column(g, lane) + i]);
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          at(0, g, i + j) += four.values[j];
          at(1, g, i + j) += four.values[j];
        }
      }
    }
  }

  // `residual`: of the tile's first column; `columns` exist from there on. All loads run together.
  __device__ __forceinline__ void add(const T* residual, const RowPair& pair, int64_t c_out,
                                      int64_t columns, int lane) {
    Packed<T, kWide> added[2][kGroups];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const T* row = residual + pair.rows[half] * c_out;
#pragma unroll
      for (int g = 0; g < kGroups; ++g) {
        Packed<uint32_t, 4> words{};
        added[half][g] = same_bits<Packed<T, kWide>>(words);
        if (pair.rows[half] >= 0 && column(g, lane) < columns) {
          added[half][g] = *reinterpret_cast<const Packed<T, kWide>*>(row + column(g, lane));
        }
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int g = 0; g < kGroups; ++g) {
#pragma unroll
        for (int i = 0; i < kWide; ++i) {
          at(half, g, i) += static_cast<float>(added[half][g].values[i]);
        }
      }
    }
  }

  __device__ __forceinline__ void activate(float negative_slope) {
#pragma unroll
    for (auto& tile : sums_) {
#pragma unroll
      for (float& sum : tile) sum = sum < 0 ? sum * negative_slope : sum;
    }
  }

  // Writes rows `first` and `first` + 8, of `num_rows`, of `out`: of the tile's first column.
  __device__ __forceinline__ void store(T* out, uint32_t first, uint32_t num_rows, int64_t c_out,
                                        int64_t columns, int lane) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint32_t row = first + half * 8;
#pragma unroll
      for (int g = 0; g < kGroups; ++g) {
        Packed<uint32_t, 4> words;
#pragma unroll
        for (int w = 0; w < 4; ++w) words.values[w] = word(half, g, w);
        if (row < num_rows && column(g, lane) < columns) {
          *reinterpret_cast<Packed<T, kWide>*>(out + row * c_out + column(g, lane)) =
              same_bits<Packed<T, kWide>>(words);
        }
      }
    }
  }

 private:
  static constexpr int kWide = kPerVector<T>;
  static constexpr int kGroups = kWidth / kColumnsOfQuad<T>;

  __device__ __forceinline__ static int column(int group, int lane) {
    return group * kColumnsOfQuad<T> + lane % 4 * kWide;
  }
  __device__ __forceinline__ float& at(int half, int group, int i) {
    return sums_[group * (kWide / 2) + i / 2][half * 2 + i % 2];
  }

  // Word w of a group's vector, rounded.
  __device__ __forceinline__ uint32_t word(int half, int group, int w) const {
    const auto value = [&](int i) { return sums_[group * (kWide / 2) + i / 2][half * 2 + i % 2]; };
    if constexpr (sizeof(T) == 4) {
      return same_bits<uint32_t>(value(w));
    } else if constexpr (std::is_same_v<T, __half>) {
      return same_bits<uint32_t>(__floats2half2_rn(value(2 * w), value(2 * w + 1)));
    } else {
      return same_bits<uint32_t>(__floats2bfloat162_rn(value(2 * w), value(2 * w + 1)));
    }
  }

  float sums_[kWidth / 8][4] = {};
};

}  // namespace elite_ops::cuda::tensor_core
