// Launch geometry shared by every kernel.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

namespace elite_ops::cuda {

constexpr int kThreadsPerBlock = 256;

// A 1-D grid of `blocks` blocks of `threads` threads. `blocks` must be positive and below 2^31.
inline cudaLaunchConfig_t launch_config(int64_t blocks, int threads, cudaStream_t stream,
                                        size_t shared_bytes = 0) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  return config;
}

// One thread per item. `items` must be positive.
inline cudaLaunchConfig_t one_thread_per(int64_t items, cudaStream_t stream) {
  return launch_config((items + kThreadsPerBlock - 1) / kThreadsPerBlock, kThreadsPerBlock, stream);
}

// This thread's number in a 1-D grid.
__device__ __forceinline__ int64_t global_thread() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

}  // namespace elite_ops::cuda

// Leaves the calling launcher when a CUDA call failed.
#define ELITE_CUDA_TRY(call)                    \
  do {                                          \
    const cudaError_t status_ = (call);         \
    if (status_ != cudaSuccess) return status_; \
  } while (false)
