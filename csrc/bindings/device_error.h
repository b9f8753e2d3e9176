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
  kBuildStridedMap,
  kConfusionMatrix,
  kConnectVoxels,
  kDevoxelize,
  kDistillationLoss,
  kHardVoxelize,
  kLinearFused,
  kLovaszSoftmax,
  kMajorityVote,
  kOutputVoxels,
  kPatchToPoint,
  kProjectPoints,
  kSerialize,
  kSegmentsFromCsr,
  kSparseConv,
  kSwapKernelMap,
  kSparseAvgPool,
  kSparseDepthwiseConv,
  kSparseMaxPool,
  kVoxelize,
  kCount
};

constexpr int kNumErrorSources = static_cast<int>(ErrorSource::kCount);
static_assert(kNumErrorSources <= 32, "cuda::take_errors reads them with one warp");

// Waits for all of a device's streams, then reads and clears what kernels have reported: a sentence
// for each bit of each source; none where the build has no CUDA ops.
std::vector<std::string> take_device_errors(int device);

}  // namespace elite_ops
