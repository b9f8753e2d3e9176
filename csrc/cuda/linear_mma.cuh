// Linear maps on tensor cores, for what `supports` says (sparse_conv_mma.cuh).
#pragma once

#include "linear_fused.h"

namespace elite_ops::cuda::tensor_core {

// Whether the weights of a tile of columns fit in shared memory.
template <typename T>
bool linear_fits(const LinearArguments<T>& args);

// As `linear_fused`.
template <typename T>
cudaError_t linear(const LinearArguments<T>& args, cudaStream_t stream);

}  // namespace elite_ops::cuda::tensor_core
