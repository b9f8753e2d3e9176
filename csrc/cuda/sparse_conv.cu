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
    int architecture = 0;
    ELITE_CUDA_TRY(current_architecture(&architecture));
    const bool holds = tensor_core::holds_warpgroups() && args.shortcut.channels % 64 == 0;
    variant = choose_variant(args.shape, sizeof(T), architecture, holds);
    // In a padded buffer, blocks that go from tile to tile: the same bits.
    const bool is_padded = args.num_rows != nullptr;
    if (is_padded && variant == SparseConvVariant::kTiles128) variant = SparseConvVariant::kTiles64;
    if (sizeof(T) == 2) {  // the same bits
      const bool is_large = !is_padded && args.shape.num_out >= 32768;
      variant = is_large ? SparseConvVariant::kDirect32 : SparseConvVariant::kDirect16;
    }
  }
  if constexpr (std::is_same_v<T, __half>) {
    switch (variant) {
      case SparseConvVariant::kResident32:
        return tensor_core::forward_resident_32(args, stream);
      case SparseConvVariant::kDirect16Few:
        return tensor_core::forward_direct<T, 4, 2, 1, 12>(args, stream);
      case SparseConvVariant::kDirect16x8:
        return tensor_core::forward_direct<T, 8, 2, 1, 16>(args, stream);
      case SparseConvVariant::kDirectWide:
        return tensor_core::forward_direct<T, 4, 4, 2, 8>(args, stream);
      default:
        break;
    }
  }
  if constexpr (sizeof(T) == 2) {
    if (variant == SparseConvVariant::kDirect16) {
      return tensor_core::forward_direct<T, 4, 2, 1, 16>(args, stream);
    }
  }
  if (variant == SparseConvVariant::kDirect32) {
    constexpr int kWarpsAtOnce = sizeof(T) == 4 ? 8 : 12;
    return tensor_core::forward_direct<T, 4, 4, 1, kWarpsAtOnce>(args, stream);
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
