#include "device_error.h"

#include <c10/util/Exception.h>
#include <c10/util/StringUtil.h>

#include "common/error_flag.h"

#ifdef ELITE_WITH_CUDA
#include <mutex>
#include <unordered_map>

#include "cuda.h"
#endif

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
    {ErrorSource::kConfusionMatrix, kLabelOutOfRange,
     "confusion_matrix: `prediction` and `target` must be in [0, num_classes)"},
    {ErrorSource::kDistillationLoss, kIndexOutOfRange,
     "distillation_loss: `index` must be -1 or a row of `student_logits`"},
    {ErrorSource::kLinearFused, kIndexOutOfRange,
     "linear_fused: `rows` must be -1 or a row of their matrix"},
    {ErrorSource::kLovaszSoftmax, kLabelOutOfRange,
     "lovasz_softmax: `labels` must lie in [0, num_classes) or be `ignore_label`"},
    {ErrorSource::kMajorityVote, kLabelOutOfRange,
     "majority_vote: `labels` must be in [0, num_classes)"},
    {ErrorSource::kPatchToPoint, kIndexOutOfRange,
     "patch_to_point: `pixel` must lie inside its image, and `batch_index` name one"},
    {ErrorSource::kProjectPoints, kIndexOutOfRange,
     "project_points: `batch_index` must be in [0, batch_size)"},
    {ErrorSource::kSparseConv, kIndexOutOfRange,
     "sparse_conv: `neighbors` must be -1 or a row of `features`, and `order` a permutation"},
    {ErrorSource::kVoxelize, kIndexOutOfRange,
     "voxelize: `batch_index` must be at least 0 and below `batch_size`"},
    {ErrorSource::kVoxelize, kCapacityExceeded,
     "voxelize: `capacity` must hold the voxels of every scale"},
};

}  // namespace

std::vector<std::string> error_messages(const int32_t* bits_of_sources) {
  std::vector<std::string> messages;
  for (const Text& text : kTexts) {
    if (bits_of_sources[static_cast<int>(text.source)] & text.bit) messages.emplace_back(text.text);
  }
  return messages;
}

#ifdef ELITE_WITH_CUDA

namespace {

// Lets this thread allocate and wait while a stream of this or another thread is being captured:
// nothing here touches that stream.
class OutsideCaptures {
 public:
  OutsideCaptures() { C10_CUDA_CHECK(cudaThreadExchangeStreamCaptureMode(&mode_)); }
  ~OutsideCaptures() { cudaThreadExchangeStreamCaptureMode(&mode_); }

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

// On a stream of its own: no graph records it, and no stream waits for it.
void zero(int32_t* flags) {
  cudaStream_t stream = nullptr;
  C10_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  C10_CUDA_CHECK(cudaMemsetAsync(flags, 0, kNumErrorSources * sizeof(int32_t), stream));
  C10_CUDA_CHECK(cudaStreamSynchronize(stream));
  C10_CUDA_CHECK(cudaStreamDestroy(stream));
}

// Plain memory of the device rather than a tensor: its life has nothing to do with inference mode,
// with captures, or with the allocator. Made at a device's first use and never freed: at exit, CUDA
// may be gone before us.
int32_t* flags_of_current_device() {
  static std::mutex mutex;
  static auto& flags = *new std::unordered_map<int, int32_t*>;
  const std::lock_guard<std::mutex> lock(mutex);
  int32_t*& own = flags[c10::cuda::current_device()];
  if (own == nullptr) {
    const OutsideCaptures outside;
    int32_t* memory = nullptr;
    C10_CUDA_CHECK(cudaMalloc(&memory, kNumErrorSources * sizeof(int32_t)));
    zero(memory);
    own = memory;
  }
  return own;
}

}  // namespace

void check_reported(const int32_t* bits_of_sources) {
  const std::vector<std::string> messages = error_messages(bits_of_sources);
  TORCH_CHECK_INDEX(messages.empty(),
                    "elite_ops: kernels have reported bad input: ", c10::Join("; ", messages));
}

int32_t* device_error_flags() { return flags_of_current_device(); }

int32_t* device_error_flag(ErrorSource source) {
  return flags_of_current_device() + static_cast<int>(source);
}

std::vector<std::string> take_device_errors(int device) {
  const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device));
  C10_CUDA_CHECK(cudaDeviceSynchronize());
  int32_t bits[kNumErrorSources];
  int32_t* flags = flags_of_current_device();
  C10_CUDA_CHECK(cudaMemcpy(bits, flags, sizeof(bits), cudaMemcpyDeviceToHost));
  const std::vector<std::string> messages = error_messages(bits);
  if (!messages.empty()) zero(flags);
  return messages;
}

#else

std::vector<std::string> take_device_errors(int) { return {}; }

#endif

}  // namespace elite_ops
