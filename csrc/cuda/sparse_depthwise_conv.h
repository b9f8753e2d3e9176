// Launchers of sparse convolution of each channel by itself, for float, double, __half and
// __nv_bfloat16. Sums are formed in float, in double for double, always in the same order. Entries
// outside [-1, in_rows.num_rows) add nothing and set kIndexOutOfRange in `error_flag`.
//
// Bytes that a call must move: features and output once, K * num_out * 4 of the table; FLOPs: 2 per
// channel of each row that is met. 58,510 voxels of a scan, 27 offsets, 64 channels in float:
// 36.3 MB and 46 MFLOP, so 11 us at 3.35 TB/s: a matter of bytes alone.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "common/kernel_table.h"

namespace elite_ops::cuda {

// out[i] = bias + sum over k of features[in_rows[k, i]] * weight[k].
template <typename T>
cudaError_t sparse_depthwise_conv(const KernelTable& in_rows, int64_t channels,
                                  const T* features,  // [in_rows.num_rows, channels]
                                  const T* weight,    // [num_offsets, channels]
                                  const T* bias,      // [channels], or null
                                  T* out,             // [in_rows.num_columns, channels]
                                  int32_t* error_flag, cudaStream_t stream);

template <typename T>
size_t sparse_depthwise_conv_backward_weight_workspace_bytes(const KernelTable& in_rows,
                                                             int64_t channels);

// grad_weight[k] = sum over i of features[in_rows[k, i]] * grad_out[i].
template <typename T>
cudaError_t sparse_depthwise_conv_backward_weight(const KernelTable& in_rows, int64_t channels,
                                                  const T* features, const T* grad_out,
                                                  void* workspace,
                                                  T* grad_weight,  // [num_offsets, channels]
                                                  int32_t* error_flag, cudaStream_t stream);

}  // namespace elite_ops::cuda
