// The weight gradient on tensor cores: 16-bit types, and float rounded to tf32.
#pragma once

#include "sparse_conv_mma.cuh"
#include "sparse_conv_weight.cuh"

namespace elite_ops::cuda::tensor_core {

// Whether `weight_partials` can: rows of both matrices start on 16 bytes.
template <typename T>
bool supports_weight(const SparseConvShape& shape, bool allow_tf32, const T* features,
                     const T* grad_out) {
  return has_products_of<T>(allow_tf32) && shape.c_in * sizeof(T) % 16 == 0 &&
         shape.c_out * sizeof(T) % 16 == 0 && starts_on_vector(features) &&
         starts_on_vector(grad_out);
}

// The channels of a tile on either side: 32, 64 or 128.
inline int32_t weight_tile(const SparseConvShape& shape) {
  if (shape.c_in <= 32 && shape.c_out <= 32) return 32;
  return shape.c_in > 64 && shape.c_out > 64 ? 128 : 64;
}

// The sums of `blocks` blocks. args.tile is that of `weight_tile`.
template <typename T>
cudaError_t weight_partials(const WeightArguments<T>& args, int64_t blocks, cudaStream_t stream);

}  // namespace elite_ops::cuda::tensor_core
