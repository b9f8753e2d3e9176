#include "common/error_flag.h"
#include "cuda/confusion_matrix.h"
#include "cuda/dynamic_shared.cuh"
#include "cuda/launch.cuh"

namespace elite_ops::cuda {
namespace {

using Count = unsigned long long;  // the 64-bit integer that the device can add to atomically

constexpr int64_t kSharedBytes = 48 * 1024;
constexpr int64_t kRowsPerThread = 16;
constexpr int64_t kMostBlocks = 1024;

// Calls `count(cell)` for the rows of this thread, in steps of the whole grid.
template <typename CountCell>
__device__ __forceinline__ void for_each_cell(const int64_t* __restrict__ prediction,
                                              const int64_t* __restrict__ target, int64_t num_rows,
                                              int64_t num_classes, int32_t* error_flag,
                                              const CountCell& count) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = global_thread(); i < num_rows; i += step) {
    const int64_t p = prediction[i], t = target[i];
    if (p >= 0 && p < num_classes && t >= 0 && t < num_classes) {
      count(t * num_classes + p);
    } else {
      atomicOr(error_flag, kLabelOutOfRange);
    }
  }
}

// Counts in shared memory first: the pairs are few, so threads would queue at the same cells.
__global__ void shared_kernel(const int64_t* __restrict__ prediction,
                              const int64_t* __restrict__ target, int64_t num_rows,
                              int64_t num_classes, int64_t* matrix, int32_t* error_flag) {
  auto* counts = dynamic_shared<uint32_t>();
  const int64_t cells = num_classes * num_classes;
  for (int64_t c = threadIdx.x; c < cells; c += blockDim.x) counts[c] = 0;
  __syncthreads();
  for_each_cell(prediction, target, num_rows, num_classes, error_flag,
                [&](int64_t cell) { atomicAdd(&counts[cell], 1u); });
  __syncthreads();
  for (int64_t c = threadIdx.x; c < cells; c += blockDim.x) {
    if (counts[c] > 0) atomicAdd(reinterpret_cast<Count*>(matrix + c), Count{counts[c]});
  }
}

// For matrices that shared memory can't hold.
__global__ void global_kernel(const int64_t* __restrict__ prediction,
                              const int64_t* __restrict__ target, int64_t num_rows,
                              int64_t num_classes, int64_t* matrix, int32_t* error_flag) {
  for_each_cell(prediction, target, num_rows, num_classes, error_flag, [&](int64_t cell) {
    atomicAdd(reinterpret_cast<Count*>(matrix + cell), Count{1});
  });
}

}  // namespace

cudaError_t confusion_matrix(const int64_t* prediction, const int64_t* target, int64_t num_rows,
                             int64_t num_classes, int64_t* matrix, int32_t* error_flag,
                             cudaStream_t stream) {
  if (num_rows == 0) return cudaSuccess;
  const int64_t rows_per_block = kThreadsPerBlock * kRowsPerThread;
  const int64_t blocks = std::min(kMostBlocks, (num_rows + rows_per_block - 1) / rows_per_block);
  const int64_t bytes = num_classes * num_classes * static_cast<int64_t>(sizeof(uint32_t));
  const bool fits = bytes <= kSharedBytes;
  const cudaLaunchConfig_t config =
      launch_config(blocks, kThreadsPerBlock, stream, fits ? static_cast<size_t>(bytes) : 0);
  return cudaLaunchKernelEx(&config, fits ? shared_kernel : global_kernel, prediction, target,
                            num_rows, num_classes, matrix, error_flag);
}

}  // namespace elite_ops::cuda
