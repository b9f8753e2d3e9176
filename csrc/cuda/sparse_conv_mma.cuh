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
struct Arguments;

// Tiles of 64 or 128 rows and 64 columns, each computed by a block of its own.
template <typename T>
cudaError_t forward_tiles_64(const Arguments<T>& args, cudaStream_t stream);
template <typename T>
cudaError_t forward_tiles_128(const Arguments<T>& args, cudaStream_t stream);

// Weights that stay in shared memory, for 16-bit types. cudaErrorInvalidValue where they don't fit
// beside the pipeline, or where there are more than 32 offsets.
template <typename T>
cudaError_t forward_resident(const Arguments<T>& args, cudaStream_t stream);

// The warpgroup products of sm_90a, in tiles of 64 or 128 rows and 64 columns: input channels in
// multiples of 64, output channels in multiples of 8. cudaErrorInvalidValue where that doesn't
// hold, on other devices, and unless the library holds them.
bool holds_warpgroups();
template <typename T>
cudaError_t forward_warpgroup_64(const Arguments<T>& args, cudaStream_t stream);
template <typename T>
cudaError_t forward_warpgroup_128(const Arguments<T>& args, cudaStream_t stream);

// The first stage of the weight gradient, on one block a tile, offset and split.
template <typename T>
cudaError_t weight_partials(const WeightArguments<T>& args, int64_t blocks, cudaStream_t stream);

}  // namespace elite_ops::cuda::tensor_core
