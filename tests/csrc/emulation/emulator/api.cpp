#include "emulator/api.h"

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "emulator/block.h"
#include "emulator/shared_memory.h"

namespace {

// Few, so that a persistent kernel's loop over tiles turns more than once on small inputs.
constexpr int kMultiprocessors = 3;
constexpr int kBlocksPerMultiprocessor = 1;

cudaError_t last_error = cudaSuccess;

// How much dynamic shared memory kernels were granted.
std::unordered_map<const void*, size_t> granted_shared_bytes;
std::mutex grants;

thread_local cudaStreamCaptureMode capture_mode = cudaStreamCaptureModeGlobal;

bool forbidden_by_capture() {
  return emulation::is_capturing && capture_mode != cudaStreamCaptureModeRelaxed;
}

}  // namespace

namespace emulation {

cudaError_t remember(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

size_t permitted_shared_bytes(const void* kernel) {
  const std::lock_guard<std::mutex> lock(grants);
  const auto granted = granted_shared_bytes.find(kernel);
  return granted == granted_shared_bytes.end() ? kSharedBytesByDefault : granted->second;
}

}  // namespace emulation

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidMemcpyDirection:
      return "cudaErrorInvalidMemcpyDirection";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
  }
  return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInvalidMemcpyDirection:
      return "invalid copy direction for memcpy";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
  }
  return "unrecognized error code";
}

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }

cudaError_t cudaPeekAtLastError() { return last_error; }

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {.name = "host emulation",
                 .major = 9,
                 .minor = 0,
                 .multiProcessorCount = kMultiprocessors,
                 .warpSize = emulation::kLanes,
                 .maxThreadsPerBlock = emulation::kMaxThreads,
                 .sharedMemPerBlock = emulation::kSharedBytesByDefault,
                 .sharedMemPerBlockOptin = emulation::kSharedBytesAtMost};
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = emulation::kMaxThreads;
      return cudaSuccess;
    case cudaDevAttrWarpSize:
      *value = emulation::kLanes;
      return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      *value = kMultiprocessors;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = 9;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = 0;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(emulation::kSharedBytesAtMost);
      return cudaSuccess;
  }
  return emulation::remember(cudaErrorInvalidValue);
}

// Starts as garbage, as a device's memory may.
cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  if (forbidden_by_capture()) return emulation::remember(cudaErrorStreamCaptureUnsupported);
  *pointer = std::malloc(bytes);
  if (*pointer == nullptr) return emulation::remember(cudaErrorMemoryAllocation);
  std::memset(*pointer, emulation::kGarbage, bytes);
  return cudaSuccess;
}

cudaError_t cudaFree(void* pointer) {
  std::free(pointer);
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  if (emulation::is_capturing) return emulation::remember(cudaErrorStreamCaptureUnsupported);
  ++emulation::num_device_synchronizations;
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = nullptr;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t) {
  if (forbidden_by_capture()) return emulation::remember(cudaErrorStreamCaptureUnsupported);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, capture_mode);
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  if (bytes > 0) std::memcpy(to, from, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* pointer, int value, size_t bytes, cudaStream_t) {
  ++emulation::num_enqueued;
  if (bytes > 0) std::memset(pointer, value, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t) {
  if (kind != cudaMemcpyDeviceToDevice) return emulation::remember(cudaErrorInvalidMemcpyDirection);
  ++emulation::num_enqueued;
  if (bytes > 0) std::memcpy(to, from, bytes);
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || static_cast<size_t>(value) > emulation::kSharedBytesAtMost) {
    return emulation::remember(cudaErrorInvalidValue);
  }
  // The attribute belongs to the process: lowered, it fails the launch that another thread is about
  // to make.
  const std::lock_guard<std::mutex> lock(grants);
  size_t& granted = granted_shared_bytes[kernel];
  if (static_cast<size_t>(value) < granted) {
    emulation::fail("shared memory of a kernel lowered from %zu to %d bytes", granted, value);
  }
  granted = static_cast<size_t>(value);
  return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* kernel) {
  *attributes = {};
  attributes->maxThreadsPerBlock = emulation::kMaxThreads;
  attributes->maxDynamicSharedSizeBytes =
      static_cast<int>(emulation::permitted_shared_bytes(kernel));
  return cudaSuccess;
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* kernel, int,
                                                          size_t shared_bytes) {
  *blocks =
      shared_bytes <= emulation::permitted_shared_bytes(kernel) ? kBlocksPerMultiprocessor : 0;
  return cudaSuccess;
}
