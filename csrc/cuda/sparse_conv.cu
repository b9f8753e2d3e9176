#include "sparse_conv.h"
#include "sparse_conv_general.cuh"
#include "sparse_conv_mma.cuh"

namespace elite_ops::cuda {

template <typename T>
cudaError_t sparse_conv(const SparseConvShape& shape, const T* features, const T* weight,
                        const int32_t* neighbors,
                        const SparseConvEpilogue<T, accumulate_t<T>>& epilogue, bool allow_tf32,
                        T* out, int32_t* error_flag, cudaStream_t stream) {
  if (shape.num_out == 0 || shape.c_out == 0) return cudaSuccess;
  if constexpr (!std::is_same_v<T, double>) {
    if (tensor_core::supports(shape, allow_tf32, features, weight)) {
      return tensor_core::forward(shape, features, weight, neighbors, epilogue, out, error_flag,
                                  stream);
    }
  }
  return general::forward(shape, features, weight, neighbors, epilogue, out, error_flag, stream);
}

#define INSTANTIATE(T)                                                                            \
  template cudaError_t sparse_conv<T>(const SparseConvShape&, const T*, const T*, const int32_t*, \
                                      const SparseConvEpilogue<T, accumulate_t<T>>&, bool, T*,    \
                                      int32_t*, cudaStream_t)
INSTANTIATE(float);
INSTANTIATE(double);
INSTANTIATE(__half);
INSTANTIATE(__nv_bfloat16);
#undef INSTANTIATE

}  // namespace elite_ops::cuda
