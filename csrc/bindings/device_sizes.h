// Sizes that kernels count, on their way to the host. Include it under `#ifdef ELITE_WITH_CUDA`.
#pragma once

#include "cuda.h"
#include "cuda/take_errors.h"
#include "empty.h"

namespace elite_ops {

// In device memory, and behind them room for the error flags: both are copied at once.
class DeviceSizes {
 public:
  DeviceSizes(int64_t count, const at::TensorOptions& options)
      : count_(count),
        sizes_and_flags_(empty({count + kFlagWords}, options.dtype(at::kLong))),
        sizes_(sizes_and_flags_.narrow(0, 0, count)) {}

  const at::Tensor& sizes() const { return sizes_; }  // [count] int64
  int64_t* data() { return sizes_.mutable_data_ptr<int64_t>(); }

  // Waits for the sizes, [count] on the host, and raises what kernels have reported.
  at::Tensor read(cudaStream_t stream) {
    auto* flags = reinterpret_cast<int32_t*>(data() + count_);
    C10_CUDA_CHECK(cuda::take_errors(device_error_flags(), kNumErrorSources, flags, stream));
    const at::Tensor copied = sizes_and_flags_.to(at::kCPU);
    check_reported(reinterpret_cast<const int32_t*>(copied.const_data_ptr<int64_t>() + count_));
    return copied;
  }

 private:
  static constexpr int64_t kFlagWords =
      (kNumErrorSources * sizeof(int32_t) + sizeof(int64_t) - 1) / sizeof(int64_t);

  int64_t count_;
  at::Tensor sizes_and_flags_;
  at::Tensor sizes_;
};

}  // namespace elite_ops
