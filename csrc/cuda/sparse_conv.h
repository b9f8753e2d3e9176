// Launchers of sparse convolution over a neighbour table, for float, double, __half and
// __nv_bfloat16. Sums are formed in float, in double for double, always in the same order. Entries
// of `neighbors` outside [-1, num_in) add nothing and set kIndexOutOfRange in `error_flag`.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "accumulate.cuh"
#include "common/sparse_conv_types.h"
#include "sparse_conv_variant.h"

namespace elite_ops::cuda {

// out[i] = epilogue(sum over k of features[neighbors[k, i]] @ weight[k]). `allow_tf32`: float
// products may be rounded to tf32 and computed by tensor cores. With `order`, column j of the table
// is that of output row order[j], a permutation; each row's sum is formed alike. A `variant` other
// than kAutomatic is for measurements; cudaErrorInvalidValue where it can't compute this.
template <typename T>
cudaError_t sparse_conv(const SparseConvShape& shape,
                        const T* features,         // [num_in, c_in]
                        const T* weight,           // [num_offsets, c_in, c_out]
                        const int32_t* neighbors,  // [num_offsets, num_out]
                        const int32_t* order,      // [num_out], or null
                        const SparseConvEpilogue<T, accumulate_t<T>>& epilogue, bool allow_tf32,
                        SparseConvVariant variant,
                        T* out,  // [num_out, c_out]
                        int32_t* error_flag, cudaStream_t stream);

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
