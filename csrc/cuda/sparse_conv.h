// Launchers of sparse convolution over a neighbour table, for float, double, __half and
// __nv_bfloat16. Sums are formed in float, in double for double, always in the same order. Row
// numbers outside [-1, rows of their matrix) add nothing and set kIndexOutOfRange in `error_flag`.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "accumulate.cuh"
#include "common/host_device.h"
#include "common/sparse_conv_types.h"
#include "sparse_conv_variant.h"

namespace elite_ops::cuda {

// What is done to a sum before it is written: leaky_relu(sum + bias + residuals).
template <typename T>
struct SparseConvEpilogue {
  const T* bias = nullptr;                        // [c_out], or null
  GatheredRows<T> residuals[kMaxResiduals] = {};  // of c_out channels; without data: nothing
  accumulate_t<T> negative_slope = 1;             // 1: no activation

  ELITE_HOST_DEVICE bool has_residuals() const {
    for (const GatheredRows<T>& residual : residuals) {
      if (residual.data) return true;
    }
    return false;
  }
};

// One convolution, for its launcher and for every kernel.
template <typename T>
struct SparseConvArguments {
  SparseConvShape shape;
  const T* features = nullptr;         // [num_in, c_in]
  const T* weight = nullptr;           // [num_offsets, c_in, c_out]
  const int32_t* neighbors = nullptr;  // [num_offsets, num_out]; null: row i meets row i
  const int32_t* order = nullptr;      // [num_out]; null: as they come
  SparseConvShortcut<T> shortcut = {};
  SparseConvEpilogue<T> epilogue = {};
  const int64_t* num_rows = nullptr;  // valid rows among num_out, on the device; null: all
  T* out = nullptr;                   // [num_out, c_out]
  int32_t* error_flag = nullptr;
};

// out[i] = epilogue(sum over k of features[neighbors[k, i]] @ weight[k] + shortcut[i]). Rows from
// the true ones on are neither read nor written. With `order`, column j of the table is that of
// output row order[j], a permutation (of the valid rows, which come first); each row's sum is
// formed alike. `allow_tf32`: float products may be rounded to tf32 and computed by tensor cores. A
// `variant` other than kAutomatic is for measurements; cudaErrorInvalidValue where it can't compute
// this.
template <typename T>
cudaError_t sparse_conv(const SparseConvArguments<T>& args, bool allow_tf32,
                        SparseConvVariant variant, cudaStream_t stream);

template <typename T>
size_t sparse_conv_backward_weight_workspace_bytes(const SparseConvShape& shape);

// grad_weight[k] = sum over i of outer(features[neighbors[k, i]], grad_out[i]).
template <typename T>
cudaError_t sparse_conv_backward_weight(const SparseConvShape& shape,
                                        const T* features,         // [num_in, c_in]
                                        const T* grad_out,         // [num_out, c_out]
                                        const int32_t* neighbors,  // [num_offsets, num_out]
                                        void* workspace, bool allow_tf32,
                                        T* grad_weight,  // [num_offsets, c_in, c_out]
                                        int32_t* error_flag, cudaStream_t stream);

}  // namespace elite_ops::cuda
