// Launcher that reads error flags without a wait of its own: the host copies them along with what
// it reads anyway.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace elite_ops::cuda {

// taken[i] = flags[i], which becomes 0; `count` is at most 32.
cudaError_t take_errors(int32_t* flags, int count, int32_t* taken, cudaStream_t stream);

}  // namespace elite_ops::cuda
