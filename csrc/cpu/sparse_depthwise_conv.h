// Sparse convolution of each channel by itself. Torch-free.
#pragma once

#include <cstdint>

#include "common/kernel_table.h"
#include "vectors.h"

namespace elite_ops::cpu {

// out[i] = bias + sum over k of features[in_rows[k, i]] * weight[k], where -1 adds nothing; k
// ascends. The result depends neither on the number of threads nor on `width`. False when `in_rows`
// holds a number outside [-1, in_rows.num_rows); such an entry adds nothing.
template <typename T>
bool sparse_depthwise_conv(const KernelTable& in_rows, int64_t channels,
                           const T* features,  // [in_rows.num_rows, channels]
                           const T* weight,    // [num_offsets, channels]
                           const T* bias,      // [channels], or null
                           T* out,             // [in_rows.num_columns, channels]
                           VectorBytes width = vector_widths().front());

// grad_weight[k] = sum over i of features[in_rows[k, i]] * grad_out[i], under the same terms. In
// two stages of fixed order: a sum for every split of the rows, then the sum over the splits.
template <typename T>
bool sparse_depthwise_conv_backward_weight(const KernelTable& in_rows, int64_t channels,
                                           const T* features,  // [in_rows.num_rows, channels]
                                           const T* grad_out,  // [in_rows.num_columns, channels]
                                           T* grad_weight,     // [num_offsets, channels]
                                           VectorBytes width = vector_widths().front());

}  // namespace elite_ops::cpu
