// Sparse convolution over a neighbour table. Torch-free.
#pragma once

#include <cstdint>

#include "common/sparse_conv_types.h"

namespace elite_ops::cpu {

// What a linear map of other features on the same voxels adds to the sums.
template <typename T>
struct SparseConvShortcut {
  const T* features;  // [num_out, channels], or null: there is none
  const T* weight;    // [channels, c_out]
  int64_t channels;
};

// out[i] = epilogue(sum over k of features[neighbors[k, i]] @ weight[k] + shortcut[i]), where -1
// adds nothing. The result does not depend on the number of threads. False when `neighbors` holds a
// number outside [-1, num_in); such an entry adds nothing.
template <typename T>
bool sparse_conv(const SparseConvShape& shape,
                 const T* features,         // [num_in, c_in]
                 const T* weight,           // [num_offsets, c_in, c_out]
                 const int32_t* neighbors,  // [num_offsets, num_out]
                 const SparseConvShortcut<T>& shortcut, const SparseConvEpilogue<T>& epilogue,
                 T* out);  // [num_out, c_out]

// grad_weight[k] = sum over i of outer(features[neighbors[k, i]], grad_out[i]), under the same
// terms.
template <typename T>
bool sparse_conv_backward_weight(const SparseConvShape& shape,
                                 const T* features,         // [num_in, c_in]
                                 const T* grad_out,         // [num_out, c_out]
                                 const int32_t* neighbors,  // [num_offsets, num_out]
                                 T* grad_weight);           // [num_offsets, c_in, c_out]

}  // namespace elite_ops::cpu
