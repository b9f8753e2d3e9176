// What the CUDA half of a binding needs: guard, stream, scalar types, error flag. Include it under
// `#ifdef ELITE_WITH_CUDA` only. It must not include ATen/cuda/CUDAContext.h, so that this half
// also compiles for the emulated device, against a torch without CUDA.
#pragma once

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "device_error.h"

namespace elite_ops {

// The CUDA type of a torch scalar: cuda_scalar<at::Half> is __half.
template <typename T>
struct CudaScalar {
  using type = T;
};
template <>
struct CudaScalar<at::Half> {
  using type = __half;
};
template <>
struct CudaScalar<at::BFloat16> {
  using type = __nv_bfloat16;
};
template <typename T>
using cuda_scalar = typename CudaScalar<T>::type;

// The tensor's data as the kernels' type.
template <typename T>
const cuda_scalar<T>* cuda_data(const at::Tensor& t) {
  return reinterpret_cast<const cuda_scalar<T>*>(t.const_data_ptr<T>());
}
template <typename T>
cuda_scalar<T>* cuda_mutable_data(at::Tensor& t) {
  return reinterpret_cast<cuda_scalar<T>*>(t.mutable_data_ptr<T>());
}

// The flags of the current device, kNumErrorSources ErrorFlag bits in its memory, and that of one.
int32_t* device_error_flags();
int32_t* device_error_flag(ErrorSource source);

// Raises an IndexError that says what these bits, kNumErrorSources of them, report; if they do.
void check_reported(const int32_t* bits_of_sources);

// Whether products of this type may be rounded to tf32 and computed by tensor cores: as for torch's
// own float products, by the setting of today or the older `allow_tf32`.
inline bool allows_tf32(at::ScalarType dtype) {
  return dtype == at::kFloat &&
         at::globalContext().float32Precision(at::Float32Backend::CUDA, at::Float32Op::MATMUL) ==
             at::Float32Precision::TF32;
}

}  // namespace elite_ops
