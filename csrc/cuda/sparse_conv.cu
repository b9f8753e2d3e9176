#include "launch.cuh"
#include "sparse_conv.h"
#include "sparse_conv_general.cuh"
#include "sparse_conv_mma.cuh"

namespace elite_ops::cuda {
namespace {

template <typename T>
cudaError_t forward_on_tensor_cores(const SparseConvArguments<T>& args, SparseConvVariant variant,
                                    cudaStream_t stream) {
  if (variant == SparseConvVariant::kAutomatic) {
    variant = choose_variant(args.shape.num_out, args.num_rows != nullptr, sizeof(T));
  }
  if constexpr (sizeof(T) == 2) {
    if (variant == SparseConvVariant::kRows16) return tensor_core::forward<T, 16>(args, stream);
  }
  if (variant == SparseConvVariant::kRows32) return tensor_core::forward<T, 32>(args, stream);
  return cudaErrorInvalidValue;
}

}  // namespace

template <typename T>
cudaError_t sparse_conv(const SparseConvArguments<T>& args, bool allow_tf32,
                        SparseConvVariant variant, cudaStream_t stream) {
  if (args.shape.num_out == 0 || args.shape.c_out == 0) return cudaSuccess;
  if constexpr (!std::is_same_v<T, double>) {
    if (variant != SparseConvVariant::kGeneral && tensor_core::supports(args, allow_tf32)) {
      return forward_on_tensor_cores(args, variant, stream);
    }
  }
  if (variant > SparseConvVariant::kGeneral) return cudaErrorInvalidValue;
  return general::forward(args, stream);
}

#define INSTANTIATE(T)                                                                        \
  template cudaError_t sparse_conv<T>(const SparseConvArguments<T>&, bool, SparseConvVariant, \
                                      cudaStream_t)
INSTANTIATE(float);
INSTANTIATE(double);
INSTANTIATE(__half);
INSTANTIATE(__nv_bfloat16);
#undef INSTANTIATE

}  // namespace elite_ops::cuda
