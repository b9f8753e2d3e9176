// Launcher of a linear map of gathered rows, with what is added to it and its activation, for
// float, double, __half and __nv_bfloat16. Tensor cores have a kernel for it; the rest is a
// convolution with one offset. Wrong row numbers are treated as in sparse_conv.h.
#pragma once

#include "sparse_conv.h"

namespace elite_ops::cuda {

template <typename T>
struct LinearArguments {
  int64_t num_out = 0;  // rows of the result
  int64_t c_in = 0;
  int64_t c_out = 0;
  GatheredRows<T> features;   // of c_in channels; without `rows` at least num_out rows
  const T* weight = nullptr;  // [c_in, c_out]
  SparseConvEpilogue<T> epilogue = {};
  const int64_t* num_rows = nullptr;  // valid rows among num_out, on the device; null: all
  T* out = nullptr;                   // [num_out, c_out]
  int32_t* error_flag = nullptr;
};

// out[i] = epilogue(features[i] @ weight), read through its rows. Rows from the true ones on are
// neither read nor written. A row of the result depends on its inputs alone, to the bit.
template <typename T>
cudaError_t linear_fused(const LinearArguments<T>& args, bool allow_tf32, cudaStream_t stream);

}  // namespace elite_ops::cuda
