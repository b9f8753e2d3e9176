// The type in which a kernel computes on a scalar type: float, or double for double.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <type_traits>

namespace elite_ops::cuda {

template <typename scalar_t>
using accumulate_t = std::conditional_t<std::is_same_v<scalar_t, double>, double, float>;

}  // namespace elite_ops::cuda
