// Stand-in, with torch's name for the check of a call.
#pragma once

#include <c10/util/Exception.h>
#include <cuda_runtime.h>

#define C10_CUDA_CHECK(call)                                                             \
  do {                                                                                   \
    const cudaError_t status = (call);                                                   \
    TORCH_CHECK(status == cudaSuccess, "emulated device: ", cudaGetErrorString(status)); \
  } while (false)
