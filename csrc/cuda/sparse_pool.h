// Launchers of the maximum and mean over a kernel map, and of their gradients, for float, double,
// __half and __nv_bfloat16: as their namesakes of cpu/sparse_pool.h. Sums are formed in float, in
// double for double, always in the same order. Entries outside [-1, table.num_rows) count as none
// and set kIndexOutOfRange in `error_flag`.
//
// Bytes that a call must move: features and output once, K * num_out * 4 of the table, and with a
// maximum 4 for each element of the output.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "common/kernel_table.h"

namespace elite_ops::cuda {

template <typename T>
cudaError_t sparse_max_pool(const KernelTable& in_rows, int64_t channels, const T* features, T* out,
                            int32_t* argmax, int32_t* error_flag, cudaStream_t stream);

template <typename T>
cudaError_t sparse_max_pool_backward(const KernelTable& out_rows, int64_t channels,
                                     const T* grad_out, const int32_t* argmax, T* grad_features,
                                     int32_t* error_flag, cudaStream_t stream);

template <typename T>
cudaError_t sparse_max_pool_take(int64_t num_in, int64_t num_out, int64_t channels,
                                 const T* features, const int32_t* argmax, T* out,
                                 int32_t* error_flag, cudaStream_t stream);

template <typename T>
cudaError_t sparse_avg_pool(const KernelTable& in_rows, int64_t channels, const T* features, T* out,
                            int32_t* counts, int32_t* error_flag, cudaStream_t stream);

template <typename T>
cudaError_t sparse_avg_pool_backward(const KernelTable& out_rows, int64_t channels,
                                     const T* grad_out, const int32_t* counts, T* grad_features,
                                     int32_t* error_flag, cudaStream_t stream);

}  // namespace elite_ops::cuda
