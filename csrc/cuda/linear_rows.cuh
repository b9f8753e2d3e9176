// The rows that a slab of a linear map reads, and what happens to its sums before they are written.
#pragma once

#include <cstdint>
#include <cstring>

#include "linear_fused.h"
#include "linear_tile.cuh"
#include "sparse_conv_rows.cuh"

namespace elite_ops::cuda::tensor_core {

// The row of a matrix that row `i` of the result reads, -1 past the end; `checked_row` has to
// follow. They are apart, so that nothing waits for a load earlier than it has to.
template <typename T>
__device__ __forceinline__ int32_t fetch_row(const GatheredRows<T>& from, uint32_t i,
                                             uint32_t num_rows) {
  if (i >= num_rows) return -1;
  return from.rows ? from.rows[i] : static_cast<int32_t>(i);
}

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
                                        int32_t* error_flag) {
    for_each_two(epilogue, lane, [&](const GatheredRows<T>& from, int32_t& row) {
      row = checked_row(row, from.num_rows, error_flag);
    });
  }

  // That of the slab's row `i`.
  __device__ __forceinline__ int32_t of(int residual, unsigned i) const {
    return __shfl_sync(0xffffffffu, residual < 2 ? rows_[0] : rows_[1],
                       static_cast<int>(residual % 2 * kSlabRows + i));
  }

 private:
  template <typename Call>
  __device__ __forceinline__ void for_each_two(const SparseConvEpilogue<T>& epilogue, unsigned lane,
                                               const Call& call) {
    static_assert(kMaxResiduals == 4);
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
__device__ __forceinline__ __half2 round_two(__half /*type*/, float x, float y) {
  return __floats2half2_rn(x, y);
}
__device__ __forceinline__ __nv_bfloat162 round_two(__nv_bfloat16 /*type*/, float x, float y) {
  return __floats2bfloat162_rn(x, y);
}
__device__ __forceinline__ float2 widen_two(__half2 two) { return __half22float2(two); }
__device__ __forceinline__ float2 widen_two(__nv_bfloat162 two) { return __bfloat1622float2(two); }

// The sums of kWidth columns. Lane 4g + t owns kGroups vectors of neighbouring columns in each of 4
// rows.
template <typename T, int kWidth>
class SlabSums {
 public:
  __device__ __forceinline__ Tiles16x8<kWidth>& tiles() { return sums_; }

  // Those of rows that are -1: weights that are infinite or NaN made NaN of their zeros.
  __device__ __forceinline__ void clear_missing(int32_t row, unsigned lane) {
    const unsigned missing = __ballot_sync(0xffffffffu, row < 0);
    if (missing == 0) return;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      if ((missing >> row_of(r, lane) & 1) == 0) continue;
#pragma unroll
      for (int i = 0; i < kWidth / 8; ++i) at(r, i) = 0;
    }
  }

  // `bias`: of the tile's columns, in shared memory.
  __device__ __forceinline__ void add_bias(const float* bias, unsigned lane) {
#pragma unroll
    for (int i = 0; i < kWidth / 8; i += 4) {
      const float4 four =
          *reinterpret_cast<const float4*>(&bias[column(i / kVector, lane) + i % kVector]);
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        at(r, i) += four.x;
        at(r, i + 1) += four.y;
        at(r, i + 2) += four.z;
        at(r, i + 3) += four.w;
      }
    }
  }

  // Adds the rows `rows` of a residual: of the tile's first column; `columns` exist from there on.
  // All loads run together.
  __device__ __forceinline__ void add(const T* residual, const ResidualRows<T>& rows, int number,
                                      unsigned c_out, unsigned columns, unsigned lane) {
    int32_t row[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) row[r] = rows.of(number, row_of(r, lane));
    Words<kWords> added[kRows][kGroups];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const T* from = at_row(residual, row[r], c_out, column(0, lane));
#pragma unroll
      for (int g = 0; g < kGroups; ++g) {
        added[r][g] =
            load_words<kWords>(from + column(g, 0), row[r] >= 0 && column(g, lane) < columns);
      }
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
#pragma unroll
      for (int w = 0; w < kGroups * kWords; ++w) {
        add_word(r, w, word_of(added[r][w / kWords], w % kWords));
      }
    }
  }

  __device__ __forceinline__ void activate(float negative_slope) {
    if (negative_slope == 1) return;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
#pragma unroll
      for (int i = 0; i < kWidth / 8; ++i) {
        float& sum = at(r, i);
        sum = sum < 0 ? sum * negative_slope : sum;
      }
    }
  }

  // Writes the slab's rows to `out`, of the slab's first row and the tile's first column; `rows`
  // and `columns` exist from there on.
  __device__ __forceinline__ void store(T* out, unsigned rows, unsigned c_out, unsigned columns,
                                        unsigned lane) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      T* to = at_row(out, row_of(r, lane), c_out, column(0, lane));
#pragma unroll
      for (int g = 0; g < kGroups; ++g) {
        if (row_of(r, lane) >= rows || column(g, lane) >= columns) continue;
        // As an intrinsic: the compiler cuts a plain store of so many words into pieces.
        __stwb(reinterpret_cast<Words<kWords>*>(to + column(g, 0)), words_from(r, g * kWords));
      }
    }
  }

 private:
  static constexpr int kRows = 4;
  static constexpr int kVector = kWide<T, kWidth>;
  static constexpr int kGroups = kWidth / (8 * kVector);
  static constexpr int kWords = kVector / kPerWord<T>;

  // Of the slab, for the lane's row `r`.
  __device__ __forceinline__ static unsigned row_of(int r, unsigned lane) {
    return r / 2 * 8 + lane % 4 * 2 + r % 2;
  }
  // Of the tile, for the lane's vector `group`.
  __device__ __forceinline__ static unsigned column(int group, unsigned lane) {
    return group * 8 * kVector + lane / 4 * kVector;
  }
  // The lane's column `i` in its row `r`.
  __device__ __forceinline__ float& at(int r, int i) {
    return sums_[i / 2][r / 2][i % 2 * 2 + r % 2];
  }

  // The lane's word `w` in its row `r`.
  __device__ __forceinline__ void add_word(int r, int w, uint32_t bits) {
    if constexpr (sizeof(T) == 4) {
      at(r, w) += __uint_as_float(bits);
    } else {
      decltype(round_two(T(), 0, 0)) two;
      memcpy(&two, &bits, sizeof(two));
      at(r, 2 * w) += widen_two(two).x;
      at(r, 2 * w + 1) += widen_two(two).y;
    }
  }
  __device__ __forceinline__ uint32_t word(int r, int w) {
    if constexpr (sizeof(T) == 4) {
      return __float_as_uint(at(r, w));
    } else {
      const auto two = round_two(T(), at(r, 2 * w), at(r, 2 * w + 1));
      uint32_t bits;
      memcpy(&bits, &two, sizeof(bits));
      return bits;
    }
  }

  __device__ __forceinline__ Words<kWords> words_from(int r, int w) {
    if constexpr (kWords == 2) {
      return {word(r, w), word(r, w + 1)};
    } else {
      return {word(r, w), word(r, w + 1), word(r, w + 2), word(r, w + 3)};
    }
  }

  Tiles16x8<kWidth> sums_ = {};
};

}  // namespace elite_ops::cuda::tensor_core
