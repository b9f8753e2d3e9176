#include "emulator/launch.h"

#include <mutex>

#include "emulator/shared_memory.h"

namespace emulation {
namespace {

bool valid_geometry(const dim3& grid, const dim3& block) {
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  return grid.x > 0 && grid.y > 0 && grid.z > 0 && grid.x <= 0x7fffffff && grid.y <= 65535 &&
         grid.z <= 65535 && threads > 0 && threads <= kMaxThreads && block.z <= 64;
}

void run_block_number(uint64_t number, const Kernel& kernel) {
  blockIdx.x = static_cast<unsigned>(number % gridDim.x);
  blockIdx.y = static_cast<unsigned>(number / gridDim.x % gridDim.y);
  blockIdx.z = static_cast<unsigned>(number / gridDim.x / gridDim.y);
  spoil_shared();
  run_block(kernel, blockDim);
}

}  // namespace

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel, Kernel body) {
  if (!valid_geometry(config.gridDim, config.blockDim)) {
    return remember(cudaErrorInvalidConfiguration);
  }
  if (config.dynamicSmemBytes > permitted_shared_bytes(kernel)) {
    return remember(cudaErrorInvalidValue);
  }
  // One kernel at a time: the emulated threads share one set of built-in variables.
  static std::mutex device;
  const std::lock_guard<std::mutex> lock(device);
  ++num_enqueued;
  gridDim = config.gridDim;
  blockDim = config.blockDim;
  allocate_shared(config.dynamicSmemBytes);
  const uint64_t blocks = uint64_t{gridDim.x} * gridDim.y * gridDim.z;
  for (uint64_t b = 0; b < blocks; ++b) run_block_number(reversed() ? blocks - 1 - b : b, body);
  free_shared();
  return cudaSuccess;
}

}  // namespace emulation
