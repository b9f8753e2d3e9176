#include "linear_fused.h"

namespace elite_ops::cuda {

template <typename T>
cudaError_t linear_fused(const LinearArguments<T>& args, bool allow_tf32, cudaStream_t stream) {
  SparseConvArguments<T> convolution;
  convolution.shape = {args.features.num_rows, args.num_out, 1, args.c_in, args.c_out};
  convolution.features = args.features.data;
  convolution.weight = args.weight;
  convolution.neighbors = args.features.rows;
  convolution.epilogue = args.epilogue;
  convolution.num_rows = args.num_rows;
  convolution.out = args.out;
  convolution.error_flag = args.error_flag;
  return sparse_conv(convolution, allow_tf32, SparseConvVariant::kAutomatic, stream);
}

template cudaError_t linear_fused<float>(const LinearArguments<float>&, bool, cudaStream_t);
template cudaError_t linear_fused<double>(const LinearArguments<double>&, bool, cudaStream_t);
template cudaError_t linear_fused<__half>(const LinearArguments<__half>&, bool, cudaStream_t);
template cudaError_t linear_fused<__nv_bfloat16>(const LinearArguments<__nv_bfloat16>&, bool,
                                                 cudaStream_t);

}  // namespace elite_ops::cuda
