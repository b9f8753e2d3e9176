#include "device_error.h"

#ifdef ELITE_WITH_CUDA

#include <c10/util/Exception.h>
#include <c10/util/StringUtil.h>

#include <mutex>
#include <unordered_map>

#include "common/error_flag.h"
#include "cuda.h"
#include "cuda/take_errors.h"

namespace elite_ops {
namespace {

struct Text {
  ErrorSource source;
  ErrorFlag bit;
  const char* text;
};

constexpr Text kTexts[] = {
    {ErrorSource::kBuildKernelMap, kIndexOutOfRange,
     "build_kernel_map: `indices` must be inside the grid"},
    {ErrorSource::kBuildKernelMap, kDuplicateIndices,
     "build_kernel_map: rows of `indices` must be unique"},
    {ErrorSource::kBuildSegments, kIndexOutOfRange,
     "build_segments: `inverse` must be in [-1, num_segments)"},
    {ErrorSource::kBuildStridedMap, kIndexOutOfRange,
     "build_strided_map: `indices` must be inside the grid"},
    {ErrorSource::kBuildStridedMap, kDuplicateIndices,
     "build_strided_map: rows of `indices` must be unique"},
    {ErrorSource::kConfusionMatrix, kLabelOutOfRange,
     "confusion_matrix: `prediction` and `target` must be in [0, num_classes)"},
    {ErrorSource::kConnectVoxels, kIndexOutOfRange,
     "connect_voxels: `in_indices` and `out_indices` must be inside their grids"},
    {ErrorSource::kConnectVoxels, kDuplicateIndices,
     "connect_voxels: rows of `in_indices` must be unique"},
    {ErrorSource::kDevoxelize, kIndexOutOfRange,
     "devoxelize: `voxels` must be inside their grid, and `batch_index` name one of their samples"},
    {ErrorSource::kDevoxelize, kDuplicateIndices, "devoxelize: `voxels` must be unique"},
    {ErrorSource::kDistillationLoss, kIndexOutOfRange,
     "distillation_loss: `index` must be -1 or a row of `student_logits`"},
    {ErrorSource::kHardVoxelize, kIndexOutOfRange,
     "hard_voxelize: `batch_index` must be at least 0 and below `batch_size`"},
    {ErrorSource::kLinearFused, kIndexOutOfRange,
     "linear_fused: `rows` must be -1 or a row of their matrix"},
    {ErrorSource::kLovaszSoftmax, kLabelOutOfRange,
     "lovasz_softmax: `labels` must lie in [0, num_classes) or be `ignore_label`"},
    {ErrorSource::kMajorityVote, kLabelOutOfRange,
     "majority_vote: `labels` must be in [0, num_classes)"},
    {ErrorSource::kOutputVoxels, kIndexOutOfRange,
     "output_voxels: `indices` must be inside the grid"},
    {ErrorSource::kPatchToPoint, kIndexOutOfRange,
     "patch_to_point: `pixel` must lie inside its image, and `batch_index` name one"},
    {ErrorSource::kProjectPoints, kIndexOutOfRange,
     "project_points: `batch_index` must be in [0, batch_size)"},
    {ErrorSource::kSerialize, kIndexOutOfRange,
     "serialize: `indices` must be cells below 2^depth of samples below 2^(63 - 3 depth)"},
    {ErrorSource::kSegmentsFromCsr, kIndexOutOfRange,
     "segments_from_csr: `offsets` must rise from 0 to at most the number of points"},
    {ErrorSource::kSparseConv, kIndexOutOfRange,
     "sparse_conv: `in_rows` must be -1 or a row of `features`, and `order` a row of the result"},
    {ErrorSource::kSwapKernelMap, kIndexOutOfRange,
     "swap_kernel_map: `rows` must be in [-1, num_rows)"},
    {ErrorSource::kSwapKernelMap, kDuplicateIndices,
     "swap_kernel_map: `rows` must name a row once under each offset"},
    {ErrorSource::kSparseAvgPool, kIndexOutOfRange,
     "sparse_avg_pool: `in_rows` must be -1 or a row of `features`, `out_rows` of the result"},
    {ErrorSource::kSparseDepthwiseConv, kIndexOutOfRange,
     "sparse_depthwise_conv: `in_rows` must be -1 or a row of `features`, `out_rows` of the "
     "result"},
    {ErrorSource::kSparseMaxPool, kIndexOutOfRange,
     "sparse_max_pool: `in_rows` must be -1 or a row of `features`, `out_rows` of the result"},
    {ErrorSource::kVoxelize, kIndexOutOfRange,
     "voxelize: `batch_index` must be at least 0 and below `batch_size`"},
    {ErrorSource::kVoxelize, kCapacityExceeded,
     "voxelize: `capacity` must hold the voxels of every scale"},
};

// A sentence for each bit of each source.
std::vector<std::string> messages_of(const int32_t* bits_of_sources) {
  std::vector<std::string> messages;
  for (const Text& text : kTexts) {
    if (bits_of_sources[static_cast<int>(text.source)] & text.bit) messages.emplace_back(text.text);
  }
  return messages;
}

// Lets this thread allocate and wait while a stream of this or another thread is being captured:
// nothing here touches that stream.
class OutsideCaptures {
 public:
  OutsideCaptures() { C10_CUDA_CHECK(cudaThreadExchangeStreamCaptureMode(&mode_)); }
  ~OutsideCaptures() { cudaThreadExchangeStreamCaptureMode(&mode_); }

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

constexpr size_t kFlagBytes = kNumErrorSources * sizeof(int32_t);

// On a stream of its own: no graph records it, and no stream waits for it.
void zero(int32_t* flags) {
  cudaStream_t stream = nullptr;
  C10_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  C10_CUDA_CHECK(cudaMemsetAsync(flags, 0, kFlagBytes, stream));
  C10_CUDA_CHECK(cudaStreamSynchronize(stream));
  C10_CUDA_CHECK(cudaStreamDestroy(stream));
}

// Plain memory of the device rather than a tensor: its life has nothing to do with inference mode,
// with captures, or with the allocator. Made at a device's first use and never freed: at exit, CUDA
// may be gone before us. Behind the flags there is room for what is taken from them.
int32_t* flags_of_current_device() {
  static std::mutex mutex;
  static auto& flags = *new std::unordered_map<int, int32_t*>;
  const std::lock_guard<std::mutex> lock(mutex);
  int32_t*& own = flags[c10::cuda::current_device()];
  if (own == nullptr) {
    const OutsideCaptures outside;
    int32_t* memory = nullptr;
    C10_CUDA_CHECK(cudaMalloc(&memory, 2 * kFlagBytes));
    zero(memory);
    own = memory;
  }
  return own;
}

}  // namespace

int32_t* device_error_flags() { return flags_of_current_device(); }

int32_t* device_error_flag(ErrorSource source) {
  return flags_of_current_device() + static_cast<int>(source);
}

void check_reported(const int32_t* bits_of_sources) {
  const std::vector<std::string> messages = messages_of(bits_of_sources);
  TORCH_CHECK_INDEX(messages.empty(),
                    "elite_ops: kernels have reported bad input: ", c10::Join("; ", messages));
}

std::vector<std::string> take_device_errors(int device) {
  const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device));
  C10_CUDA_CHECK(cudaDeviceSynchronize());
  static std::mutex mutex;  // of the room behind the flags
  const std::lock_guard<std::mutex> lock(mutex);
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream();
  int32_t* flags = flags_of_current_device();
  int32_t* taken = flags + kNumErrorSources;
  C10_CUDA_CHECK(cuda::take_errors(flags, kNumErrorSources, taken, stream));
  C10_CUDA_CHECK(cudaStreamSynchronize(stream));
  int32_t bits[kNumErrorSources];
  C10_CUDA_CHECK(cudaMemcpy(bits, taken, kFlagBytes, cudaMemcpyDeviceToHost));
  return messages_of(bits);
}

}  // namespace elite_ops

#else

namespace elite_ops {

std::vector<std::string> take_device_errors(int) { return {}; }

}  // namespace elite_ops

#endif
