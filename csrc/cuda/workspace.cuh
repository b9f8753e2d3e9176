// Cuts the scratch of a launcher, one buffer of the caller, into arrays.
#pragma once

#include <cstddef>
#include <cstdint>

namespace elite_ops::cuda {

// The same calls of `take` on a null buffer measure what on a real one they hand out.
class Workspace {
 public:
  explicit Workspace(void* buffer) : buffer_(static_cast<unsigned char*>(buffer)) {}

  template <typename T>
  T* take(int64_t count) {
    unsigned char* array = buffer_ == nullptr ? nullptr : buffer_ + bytes_;
    bytes_ += (static_cast<size_t>(count) * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    return reinterpret_cast<T*>(array);
  }

  size_t bytes() const { return bytes_; }

 private:
  static constexpr size_t kAlignment = 256;  // what cudaMalloc gives, and vector loads may rely on
  unsigned char* buffer_;
  size_t bytes_ = 0;
};

}  // namespace elite_ops::cuda
