// What the kernels of sparse convolution share: reading the neighbour table, and the epilogue.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "common/error_flag.h"
#include "sparse_conv.h"

namespace elite_ops::cuda {

// The input row that meets output row `i` under offset `k`, -1 where there is none.
__device__ __forceinline__ int32_t neighbor_row(const SparseConvShape& shape,
                                                const int32_t* __restrict__ neighbors, int64_t k,
                                                int64_t i, int32_t* error_flag) {
  if (i >= shape.num_out) return -1;
  const int32_t row = neighbors[k * shape.num_out + i];
  if (row >= -1 && row < shape.num_in) return row;
  atomicOr(error_flag, static_cast<int32_t>(kIndexOutOfRange));
  return -1;
}

// The output row that column `i` of the table stands for, -1 past the end.
__device__ __forceinline__ int64_t output_row(const SparseConvShape& shape,
                                              const int32_t* __restrict__ order, int64_t i,
                                              int32_t* error_flag) {
  if (i >= shape.num_out) return -1;
  if (order == nullptr) return i;
  const int32_t row = order[i];
  if (row >= 0 && row < shape.num_out) return row;
  atomicOr(error_flag, static_cast<int32_t>(kIndexOutOfRange));
  return -1;
}

template <typename T>
__device__ __forceinline__ accumulate_t<T> apply_epilogue(
    const SparseConvShape& shape, const SparseConvEpilogue<T, accumulate_t<T>>& epilogue,
    int64_t row, int64_t column, accumulate_t<T> value) {
  if (epilogue.bias) value += static_cast<accumulate_t<T>>(epilogue.bias[column]);
  if (epilogue.residual)
    value += static_cast<accumulate_t<T>>(epilogue.residual[row * shape.c_out + column]);
  return value < 0 ? value * epilogue.negative_slope : value;
}

}  // namespace elite_ops::cuda
