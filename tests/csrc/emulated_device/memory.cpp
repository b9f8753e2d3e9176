// All of torch's memory in a process of the emulated device: every tensor ends at a page that
// nobody may touch, to 16 bytes, and starts as garbage. A kernel that reads or writes past an end
// stops the program, and so does one that wrote to the bytes in between, as the tensor is released;
// one that reads what nobody wrote computes something else.
#include <ATen/ops/empty.h>
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "bindings/empty.h"

#ifndef __has_feature  // clang's
#define __has_feature(name) 0
#endif

namespace elite_ops {
namespace {

constexpr size_t kAlignment = 16;  // what a kernel may count on at the start of a tensor
constexpr unsigned char kGarbage = 0xC5;

const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));

size_t rounded_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

// How many bytes lie between the end of a tensor and the page.
size_t rounding(size_t bytes) { return rounded_up(bytes, kAlignment) - bytes; }

// In front of the tensor's first page.
struct Mapping {
  void* start;
  size_t size;
  size_t bytes;  // of the tensor
};

Mapping* mapping_of(void* memory) {
  return reinterpret_cast<Mapping*>(reinterpret_cast<uintptr_t>(memory) / page * page - page);
}

void release(void* memory) {
  if (memory == nullptr) return;
  const Mapping mapping = *mapping_of(memory);
  const auto* end = static_cast<unsigned char*>(memory) + mapping.bytes;
  for (const auto* p = end; p != end + rounding(mapping.bytes); ++p) {
    if (*p == kGarbage) continue;
    std::fprintf(stderr, "emulated device: written past the end of a tensor of %zu bytes\n",
                 mapping.bytes);
    std::abort();
  }
  munmap(mapping.start, mapping.size);
}

struct GuardedAllocator final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    const c10::Device cpu(c10::kCPU);
    if (bytes == 0) return {nullptr, nullptr, &release, cpu};
    const size_t used = rounded_up(bytes, kAlignment), pages = rounded_up(used, page);
    const size_t size = page + pages + page;
    void* mapped = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    TORCH_CHECK_WITH(OutOfMemoryError, mapped != MAP_FAILED,
                     "emulated device: no memory for a tensor of ", bytes, " bytes");
    char* end = static_cast<char*>(mapped) + page + pages;
    TORCH_CHECK(mprotect(end, page, PROT_NONE) == 0, "emulated device: no guard behind a tensor");
    char* memory = end - used;
    std::memset(memory, kGarbage, used);
    *mapping_of(memory) = {mapped, size, bytes};
    return {memory, memory, &release, cpu};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    std::memcpy(to, from, bytes);
  }
};

// AddressSanitizer surrounds every allocation by itself, to the byte.
#if !defined(__SANITIZE_ADDRESS__) && !__has_feature(address_sanitizer)
GuardedAllocator allocator;
[[maybe_unused]] const bool is_set = [] {
  c10::SetCPUAllocator(&allocator, /*priority=*/100);
  return true;
}();
#endif

}  // namespace

// Instead of bindings/empty.cpp: results come from there as well.
at::Tensor empty(at::IntArrayRef sizes, const at::TensorOptions& options,
                 std::optional<at::MemoryFormat> memory_format) {
  return at::empty(sizes, options, memory_format);
}

}  // namespace elite_ops
