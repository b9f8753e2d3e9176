// Sparse convolution over a neighbour table. Torch-free.
#pragma once

#include <cstdint>

#include "bfloat16.h"
#include "common/sparse_conv_types.h"

namespace elite_ops::cpu {

// What is done to a sum before it is written: leaky_relu(sum + bias + residual).
template <typename T>
struct SparseConvEpilogue {
  const T* bias = nullptr;      // [c_out], or null
  const T* residual = nullptr;  // [num_out, c_out], or null
  sum_t<T> negative_slope = 1;  // 1: no activation
};

// out[i] = epilogue(sum over k of features[neighbors[k, i]] @ weight[k] + shortcut[i]), where -1
// adds nothing. Rows from `num_rows` on are neither read nor written. The result does not depend on
// the number of threads. False when `neighbors` holds a number outside [-1, num_in); such an entry
// adds nothing. Bfloat16 is for processors that multiply it (micro_gemm.h), and for even numbers of
// input channels; its sums are floats.
template <typename T>
bool sparse_conv(const SparseConvShape& shape,
                 const T* features,         // [num_in, c_in]
                 const T* weight,           // [num_offsets, c_in, c_out]
                 const int32_t* neighbors,  // [num_offsets, num_out]
                 const SparseConvShortcut<T>& shortcut, const SparseConvEpilogue<T>& epilogue,
                 const int64_t* num_rows,  // valid rows among num_out; null: all
                 T* out);                  // [num_out, c_out]

// grad_weight[k] = sum over i of outer(features[neighbors[k, i]], grad_out[i]), under the same
// terms.
template <typename T>
bool sparse_conv_backward_weight(const SparseConvShape& shape,
                                 const T* features,         // [num_in, c_in]
                                 const T* grad_out,         // [num_out, c_out]
                                 const int32_t* neighbors,  // [num_offsets, num_out]
                                 T* grad_weight);           // [num_offsets, c_in, c_out]

}  // namespace elite_ops::cpu
