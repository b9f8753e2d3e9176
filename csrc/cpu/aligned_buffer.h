// Scratch memory that starts on a cache line, so that vector loads don't straddle two.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace elite_ops::cpu {

template <typename T>
class AlignedBuffer {
 public:
  // Uninitialized.
  explicit AlignedBuffer(int64_t size)
      : data_(static_cast<T*>(
            ::operator new(static_cast<size_t>(size) * sizeof(T), std::align_val_t(kAlignment)))) {}

  T* data() const { return data_.get(); }
  T& operator[](int64_t i) { return data_.get()[i]; }

 private:
  static constexpr size_t kAlignment = 64;
  struct Delete {
    void operator()(T* data) const { ::operator delete(data, std::align_val_t(kAlignment)); }
  };
  std::unique_ptr<T[], Delete> data_;
};

}  // namespace elite_ops::cpu
