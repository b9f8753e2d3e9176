#include "launch.cuh"
#include "sparse_conv.h"
#include "sparse_conv_general.cuh"
#include "sparse_conv_mma.cuh"
#include "sparse_conv_slab.cuh"

namespace elite_ops::cuda {
namespace {

template <typename T>
cudaError_t forward_on_tensor_cores(const tensor_core::Arguments<T>& args,
                                    SparseConvVariant variant, cudaStream_t stream) {
  if (variant == SparseConvVariant::kAutomatic) {
    int architecture = 0;
    ELITE_CUDA_TRY(current_architecture(&architecture));
    variant = choose_variant(args.shape, sizeof(T), architecture, tensor_core::holds_warpgroups());
  }
  if constexpr (sizeof(T) == 2) {
    switch (variant) {
      case SparseConvVariant::kResident:
        return tensor_core::forward_resident(args, stream);
      case SparseConvVariant::kWarpgroup64:
        return tensor_core::forward_warpgroup_64(args, stream);
      case SparseConvVariant::kWarpgroup128:
        return tensor_core::forward_warpgroup_128(args, stream);
      default:
        break;
    }
  }
  switch (variant) {
    case SparseConvVariant::kTiles64:
      return tensor_core::forward_tiles_64(args, stream);
    case SparseConvVariant::kTiles128:
      return tensor_core::forward_tiles_128(args, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace

template <typename T>
cudaError_t sparse_conv(const SparseConvShape& shape, const T* features, const T* weight,
                        const int32_t* neighbors, const int32_t* order,
                        const SparseConvEpilogue<T, accumulate_t<T>>& epilogue, bool allow_tf32,
                        SparseConvVariant variant, T* out, int32_t* error_flag,
                        cudaStream_t stream) {
  if (shape.num_out == 0 || shape.c_out == 0) return cudaSuccess;
  if constexpr (!std::is_same_v<T, double>) {
    if (uses_warpgroups(variant) || (variant != SparseConvVariant::kGeneral &&
                                     tensor_core::supports(shape, allow_tf32, features, weight))) {
      return forward_on_tensor_cores<T>(
          {shape, features, weight, neighbors, order, epilogue, 0, out, error_flag}, variant,
          stream);
    }
  }
  if (variant > SparseConvVariant::kGeneral) return cudaErrorInvalidValue;
  return general::forward(shape, features, weight, neighbors, order, epilogue, out, error_flag,
                          stream);
}

#define INSTANTIATE(T)                                                                            \
  template cudaError_t sparse_conv<T>(const SparseConvShape&, const T*, const T*, const int32_t*, \
                                      const int32_t*,                                             \
                                      const SparseConvEpilogue<T, accumulate_t<T>>&, bool,        \
                                      SparseConvVariant, T*, int32_t*, cudaStream_t)
INSTANTIATE(float);
INSTANTIATE(double);
INSTANTIATE(__half);
INSTANTIATE(__nv_bfloat16);
#undef INSTANTIATE

}  // namespace elite_ops::cuda
