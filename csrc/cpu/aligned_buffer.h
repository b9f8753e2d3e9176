// Scratch memory that starts on a cache line.
#pragma once

#include <cstdint>
#include <memory>

#include "memory_pool.h"

namespace elite_ops::cpu {

template <typename T>
class AlignedBuffer {
 public:
  // Uninitialized.
  explicit AlignedBuffer(int64_t size)
      : data_(static_cast<T*>(take_memory(static_cast<size_t>(size) * sizeof(T)))) {}

  T* data() const { return data_.get(); }
  T& operator[](int64_t i) const { return data_.get()[i]; }

 private:
  struct Return {
    void operator()(T* data) const { return_memory(data); }
  };
  std::unique_ptr<T[], Return> data_;
};

}  // namespace elite_ops::cpu
