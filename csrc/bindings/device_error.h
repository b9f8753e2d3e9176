// What kernels report, as the host sees it: one set of ErrorFlag bits for each op that reports, in
// the memory of each device.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace elite_ops {

enum class ErrorSource : int {
  kBuildKernelMap,
  kBuildSegments,
  kConfusionMatrix,
  kDistillationLoss,
  kLinearFused,
  kLovaszSoftmax,
  kMajorityVote,
  kPatchToPoint,
  kProjectPoints,
  kSparseConv,
  kVoxelize,
  kCount
};

constexpr int kNumErrorSources = static_cast<int>(ErrorSource::kCount);

// A sentence for each bit of each source.
std::vector<std::string> error_messages(const int32_t* bits_of_sources);

// Raises an IndexError with all messages, if there are any.
void check_reported(const int32_t* bits_of_sources);

// Waits for all of a device's streams, then reads and clears what kernels have reported; nothing
// where the build has no CUDA ops.
std::vector<std::string> take_device_errors(int device);

}  // namespace elite_ops
