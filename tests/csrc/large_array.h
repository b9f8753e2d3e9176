// An array of more than 2^31 elements of which a test touches a few: the rest takes no memory.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

#include "cases.h"

template <typename T>
class LargeArray {
 public:
  explicit LargeArray(int64_t size) : bytes_(static_cast<size_t>(size) * sizeof(T)) {
    data_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(data_ != MAP_FAILED);
  }
  ~LargeArray() { munmap(data_, bytes_); }
  LargeArray(const LargeArray&) = delete;
  LargeArray& operator=(const LargeArray&) = delete;

  T* data() { return static_cast<T*>(data_); }

 private:
  size_t bytes_;
  void* data_;
};
