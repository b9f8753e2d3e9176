// A linear map of gathered rows, with what is added to it and its activation. Torch-free.
#pragma once

#include <cstdint>
#include <vector>

#include "bfloat16.h"
#include "common/sparse_conv_types.h"

namespace elite_ops::cpu {

struct LinearShape {
  int64_t num_out;  // rows of the result
  int64_t c_in;
  int64_t c_out;
};

// out[i] = leaky_relu(features[i] @ weight + bias + sum of residual[i] over the residuals), each
// read through its rows. Rows from `num_rows` on are neither read nor written. A row of the result
// depends on its inputs alone, not on the number of threads. False when a row number is outside
// [-1, num_rows); such a row adds nothing. Bfloat16 as in sparse_conv.h.
template <typename T>
bool linear_fused(const LinearShape& shape, const GatheredRows<T>& features,
                  const T* weight,  // [c_in, c_out]
                  const T* bias,    // [c_out], or null
                  const std::vector<GatheredRows<T>>& residuals, sum_t<T> negative_slope,
                  const int64_t* num_rows,  // valid rows among num_out; null: all
                  T* out);                  // [num_out, c_out]

}  // namespace elite_ops::cpu
