// Sparse convolution on tensor cores: 16-bit types, and float rounded to tf32.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <type_traits>

#include "sparse_conv.h"

namespace elite_ops::cuda::tensor_core {

inline bool starts_on_vector(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
}

template <typename T>
bool has_products_of(bool allow_tf32) {
  return sizeof(T) == 2 || (std::is_same_v<T, float> && allow_tf32);
}

// Whether `forward` can do it: input channels in multiples of 16, and matrices whose rows
// start on 16 bytes.
template <typename T>
bool supports(const SparseConvArguments<T>& args, bool allow_tf32) {
  const auto all_start_on_vectors = [](std::initializer_list<const void*> pointers) {
    return std::all_of(pointers.begin(), pointers.end(), starts_on_vector);
  };
  const GatheredRows<T>(&residuals)[kMaxResiduals] = args.epilogue.residuals;
  return has_products_of<T>(allow_tf32) && args.shape.c_in > 0 && args.shape.c_in % 16 == 0 &&
         args.shortcut.channels % 16 == 0 && args.shape.c_out * sizeof(T) % 16 == 0 &&
         all_start_on_vectors({args.features, args.weight, args.shortcut.features,
                               args.shortcut.weight, args.epilogue.bias, residuals[0].data,
                               residuals[1].data, residuals[2].data, residuals[3].data});
}

// A warp owns 16 or 32 rows; in float, 32. The same bits.
template <typename T, int kWarpRows>
cudaError_t forward(const SparseConvArguments<T>& args, cudaStream_t stream);

}  // namespace elite_ops::cuda::tensor_core
