// Sparse convolution on tensor cores: 16-bit types, and float rounded to tf32.
#pragma once

#include <type_traits>

#include "sparse_conv.h"
#include "sparse_conv_weight_tile.cuh"

namespace elite_ops::cuda::tensor_core {

inline bool starts_on_vector(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
}

// Whether the functions below can do it: channels in multiples of 16, and rows of both gathered
// matrices that start on 16 bytes.
template <typename T>
bool supports(const SparseConvShape& shape, bool allow_tf32, const T* first, const T* second) {
  constexpr bool kIs16Bit = sizeof(T) == 2, kIsFloat = std::is_same_v<T, float>;
  return (kIs16Bit || (kIsFloat && allow_tf32)) && shape.c_in % 16 == 0 && shape.c_out % 16 == 0 &&
         starts_on_vector(first) && starts_on_vector(second);
}

template <typename T>
cudaError_t forward(const SparseConvShape& shape, const T* features, const T* weight,
                    const int32_t* neighbors, const SparseConvEpilogue<T, float>& epilogue, T* out,
                    int32_t* error_flag, cudaStream_t stream);

// The first stage of the weight gradient, on one block a tile, offset and split.
template <typename T>
cudaError_t weight_partials(const WeightArguments<T>& args, int64_t blocks, cudaStream_t stream);

}  // namespace elite_ops::cuda::tensor_core
