#include "linear_fused.h"
#include "linear_mma.cuh"
#include "sparse_conv_mma.cuh"

namespace elite_ops::cuda {
namespace {

// A linear map is a convolution with one offset.
template <typename T>
SparseConvArguments<T> as_convolution(const LinearArguments<T>& args) {
  SparseConvArguments<T> convolution;
  convolution.shape = {args.features.num_rows, args.num_out, 1, args.c_in, args.c_out};
  convolution.features = args.features.data;
  convolution.weight = args.weight;
  convolution.neighbors = args.features.rows;
  convolution.epilogue = args.epilogue;
  convolution.num_rows = args.num_rows;
  convolution.out = args.out;
  convolution.error_flag = args.error_flag;
  return convolution;
}

}  // namespace

template <typename T>
cudaError_t linear_fused(const LinearArguments<T>& args, bool allow_tf32, cudaStream_t stream) {
  if (args.num_out == 0 || args.c_out == 0) return cudaSuccess;
  const SparseConvArguments<T> convolution = as_convolution(args);
  if constexpr (!std::is_same_v<T, double>) {
    if (tensor_core::supports(convolution, allow_tf32) && tensor_core::linear_fits(args)) {
      return tensor_core::linear(args, stream);
    }
  }
  return sparse_conv(convolution, allow_tf32, SparseConvVariant::kAutomatic, stream);
}

template cudaError_t linear_fused<float>(const LinearArguments<float>&, bool, cudaStream_t);
template cudaError_t linear_fused<double>(const LinearArguments<double>&, bool, cudaStream_t);
template cudaError_t linear_fused<__half>(const LinearArguments<__half>&, bool, cudaStream_t);
template cudaError_t linear_fused<__nv_bfloat16>(const LinearArguments<__nv_bfloat16>&, bool,
                                                 cudaStream_t);

}  // namespace elite_ops::cuda
