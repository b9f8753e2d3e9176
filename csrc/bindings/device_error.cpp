#include "device_error.h"

#ifdef ELITE_WITH_CUDA

#include <ATen/ops/zeros.h>

#include <mutex>
#include <unordered_map>

#include "cuda.h"

namespace elite_ops {
namespace {

// Allocated at a device's first use and never freed: at exit, CUDA may be gone before us.
at::Tensor& flag_of(int device) {
  static std::mutex mutex;
  static auto& flags = *new std::unordered_map<int, at::Tensor>;
  const std::lock_guard<std::mutex> lock(mutex);
  auto [it, is_new] = flags.try_emplace(device);
  if (is_new) {
    it->second = at::zeros({1}, at::TensorOptions().dtype(at::kInt).device(at::kCUDA, device));
  }
  return it->second;
}

}  // namespace

int32_t* device_error_flag() {
  return flag_of(c10::cuda::current_device()).mutable_data_ptr<int32_t>();
}

int32_t take_device_errors(int device) {
  const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device));
  at::Tensor& flag = flag_of(device);
  const int32_t bits = flag.item<int32_t>();
  if (bits != 0) flag.zero_();
  return bits;
}

}  // namespace elite_ops

#else

namespace elite_ops {

int32_t take_device_errors(int) { return 0; }

}  // namespace elite_ops

#endif
