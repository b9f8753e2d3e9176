// The convolution on tensor cores: 16-bit types, and float rounded to tf32.
#pragma once

#include "sparse_conv.h"

namespace elite_ops::cuda::tensor_core {

// Whether `forward` can do it: channels in multiples of 16, and rows that start on 16 bytes.
template <typename T>
bool supports(const SparseConvShape& shape, const T* features, const T* weight);

template <typename T>
cudaError_t forward(const SparseConvShape& shape, const T* features, const T* weight,
                    const int32_t* neighbors, const SparseConvEpilogue<T, float>& epilogue, T* out,
                    int32_t* error_flag, cudaStream_t stream);

}  // namespace elite_ops::cuda::tensor_core
