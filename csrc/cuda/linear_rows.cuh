// The rows that a slab of a linear map reads, and what happens to its sums before they are written.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "linear_fused.h"
#include "linear_tile.cuh"

namespace elite_ops::cuda::tensor_core {

// The row of a matrix that row `i` of the result reads, -1 past the end; `checked_row` has to
// follow. They are apart, so that nothing waits for a load earlier than it has to.
template <typename T>
__device__ __forceinline__ int32_t fetch_row(const GatheredRows<T>& from, uint32_t i,
                                             uint32_t num_rows) {
  if (i >= num_rows) return -1;
  return from.rows ? from.rows[i] : static_cast<int32_t>(i);
}

// -1 for a row that doesn't exist, which sets `outside`.
template <typename T>
__device__ __forceinline__ int32_t checked_row(int32_t row, const GatheredRows<T>& from,
                                               bool& outside) {
  const bool is_wrong = row < -1 || row >= static_cast<int32_t>(from.num_rows);
  outside |= is_wrong;
  return is_wrong ? -1 : row;
}

// Rows g and g + 8 of a slab, those that lane 4g + t works on.
struct RowPair {
  int32_t rows[2];

  // Lane `first` + i has the number of row i.
  __device__ __forceinline__ RowPair(int32_t row, unsigned first, unsigned lane)
      : rows{__shfl_sync(0xffffffffu, row, static_cast<int>(first + lane / 4)),
             __shfl_sync(0xffffffffu, row, static_cast<int>(first + lane / 4 + 8))} {}
};

// The rows of the residuals that a slab reads: of two matrices in a register, a row in a lane.
template <typename T>
class ResidualRows {
 public:
  __device__ __forceinline__ ResidualRows(const SparseConvEpilogue<T>& epilogue, uint32_t first,
                                          uint32_t num_rows, unsigned lane) {
    for_each_two(epilogue, lane, [&](const GatheredRows<T>& from, int32_t& row) {
      row = from.data ? fetch_row(from, first + lane % kSlabRows, num_rows) : -1;
    });
  }

  __device__ __forceinline__ void check(const SparseConvEpilogue<T>& epilogue, unsigned lane,
                                        bool& outside) {
    for_each_two(epilogue, lane, [&](const GatheredRows<T>& from, int32_t& row) {
      row = checked_row(row, from, outside);
    });
  }

  __device__ __forceinline__ RowPair of(unsigned residual, unsigned lane) const {
    return {rows_[residual / 2], residual % 2 * kSlabRows, lane};
  }

 private:
  template <typename Call>
  __device__ __forceinline__ void for_each_two(const SparseConvEpilogue<T>& epilogue, unsigned lane,
                                               const Call& call) {
    static_assert(kMaxResiduals % 2 == 0);
#pragma unroll
    for (int i = 0; i < kMaxResiduals; i += 2) {
      if (epilogue.residuals[i].data || epilogue.residuals[i + 1].data) {
        call(epilogue.residuals[i + lane / kSlabRows], rows_[i / 2]);
      }
    }
  }

  int32_t rows_[kMaxResiduals / 2];
};

// The two elements of a word of a 16-bit type.
template <typename T>
struct TwoHalves;
template <>
struct TwoHalves<__half> {
  using Type = __half2;
  __device__ __forceinline__ static Type rounded(float x, float y) {
    return __floats2half2_rn(x, y);
  }
  __device__ __forceinline__ static float2 widened(Type x) { return __half22float2(x); }
};
template <>
struct TwoHalves<__nv_bfloat16> {
  using Type = __nv_bfloat162;
  __device__ __forceinline__ static Type rounded(float x, float y) {
    return __floats2bfloat162_rn(x, y);
  }
  __device__ __forceinline__ static float2 widened(Type x) { return __bfloat1622float2(x); }
};

// The sums of kWidth columns, of which a lane owns kGroups vectors in each of its two rows.
template <typename T, int kWidth>
class SlabSums {
 public:
  __device__ __forceinline__ float (&tiles()) [kWidth / 8][4] { return sums_; }

  // Those of rows that are none: weights that are infinite or NaN made NaN of their zeros.
  __device__ __forceinline__ void clear_missing(int32_t row, unsigned lane) {
    const unsigned missing = __ballot_sync(0xffffffffu, row < 0);
    if (missing == 0) return;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if ((missing >> (lane / 4 + half * 8) & 1) == 0) continue;
#pragma unroll
      for (auto& tile : sums_) tile[half * 2] = tile[half * 2 + 1] = 0;
    }
  }

  // `bias`: of the tile's columns, in shared memory.
  __device__ __forceinline__ void add_bias(const float* bias, unsigned lane) {
#pragma unroll
    for (int g = 0; g < kGroups; ++g) {
#pragma unroll
      for (int i = 0; i < kWide; i += 4) {
        const float4 four = *reinterpret_cast<const float4*>(&bias[column(g, lane) + i]);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          at(half, g, i) += four.x;
          at(half, g, i + 1) += four.y;
          at(half, g, i + 2) += four.z;
          at(half, g, i + 3) += four.w;
        }
      }
    }
  }

  // `residual`: of the tile's first column; `columns` exist from there on. All loads run together.
  __device__ __forceinline__ void add(const T* residual, const RowPair& pair, unsigned c_out,
                                      unsigned columns, unsigned lane) {
    Words<4> added[2][kGroups];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const T* row = at_row(residual, pair.rows[half], c_out, column(0, lane));
#pragma unroll
      for (int g = 0; g < kGroups; ++g) {
        added[half][g] =
            load_words<4>(row + column(g, 0), pair.rows[half] >= 0 && column(g, lane) < columns);
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int g = 0; g < kGroups; ++g) {
#pragma unroll
        for (int w = 0; w < 4; ++w) add_word(half, g, w, added[half][g].values[w]);
      }
    }
  }

  __device__ __forceinline__ void activate(float negative_slope) {
    if (negative_slope == 1) return;
#pragma unroll
    for (auto& tile : sums_) {
#pragma unroll
      for (float& sum : tile) sum = sum < 0 ? sum * negative_slope : sum;
    }
  }

  // Writes rows `first` and `first` + 8, of `num_rows`, of `out`: of the tile's first column.
  __device__ __forceinline__ void store(T* out, uint32_t first, uint32_t num_rows, unsigned c_out,
                                        unsigned columns, unsigned lane) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      T* row = at_row(out, first + half * 8, c_out, column(0, lane));
#pragma unroll
      for (int g = 0; g < kGroups; ++g) {
        Words<4> words;
#pragma unroll
        for (int w = 0; w < 4; ++w) words.values[w] = word(half, g, w);
        if (first + half * 8 < num_rows && column(g, lane) < columns) {
          *reinterpret_cast<Words<4>*>(row + column(g, 0)) = words;
        }
      }
    }
  }

 private:
  static constexpr int kWide = kPerVector<T>;
  static constexpr int kGroups = kWidth / kColumnsOfQuad<T>;

  __device__ __forceinline__ static unsigned column(int group, unsigned lane) {
    return group * kColumnsOfQuad<T> + lane % 4 * kWide;
  }
  __device__ __forceinline__ float& at(int half, int group, int i) {
    return sums_[group * (kWide / 2) + i / 2][half * 2 + i % 2];
  }

  // Word w of a group's vector.
  __device__ __forceinline__ void add_word(int half, int group, int w, uint32_t bits) {
    if constexpr (sizeof(T) == 4) {
      at(half, group, w) += __uint_as_float(bits);
    } else {
      typename TwoHalves<T>::Type two;
      memcpy(&two, &bits, sizeof(two));
      const float2 wide = TwoHalves<T>::widened(two);
      at(half, group, 2 * w) += wide.x;
      at(half, group, 2 * w + 1) += wide.y;
    }
  }
  __device__ __forceinline__ uint32_t word(int half, int group, int w) {
    if constexpr (sizeof(T) == 4) {
      return __float_as_uint(at(half, group, w));
    } else {
      const auto two = TwoHalves<T>::rounded(at(half, group, 2 * w), at(half, group, 2 * w + 1));
      uint32_t bits;
      memcpy(&bits, &two, sizeof(bits));
      return bits;
    }
  }

  float sums_[kWidth / 8][4] = {};
};

}  // namespace elite_ops::cuda::tensor_core
