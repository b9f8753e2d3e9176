#include "cuda/launch.cuh"
#include "cuda/take_errors.h"

namespace elite_ops::cuda {
namespace {

__global__ void take_errors_kernel(int32_t* flags, int count, int32_t* taken) {
  const int i = static_cast<int>(threadIdx.x);
  // Atomic: a kernel of another stream may be reporting.
  if (i < count) taken[i] = atomicExch(&flags[i], 0);
}

}  // namespace

cudaError_t take_errors(int32_t* flags, int count, int32_t* taken, cudaStream_t stream) {
  const cudaLaunchConfig_t one_warp = launch_config(1, 32, stream);
  return cudaLaunchKernelEx(&one_warp, take_errors_kernel, flags, count, taken);
}

}  // namespace elite_ops::cuda
