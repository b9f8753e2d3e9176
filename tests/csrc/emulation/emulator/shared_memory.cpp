#include "emulator/shared_memory.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "emulator/block.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

extern "C" uint64_t emulated_shared_begin[], emulated_shared_end[];  // by shared_memory.ld

namespace emulation {

unsigned char* shared = nullptr;

namespace {

// Dynamic shared memory starts so far past a multiple of twice the largest alignment that a kernel
// may want: code that counts on more alignment than it asked for meets UBSan's alignment check, and
// swizzles that lie elsewhere.
constexpr size_t kStart = 16;
constexpr size_t kLargestAlignment = 1024;

size_t shared_bytes = 0;
unsigned char* allocation = nullptr;

// The section includes the red zones between the variables: their contents are free to overwrite,
// but an instrumented access, or the intercepted memset, would be reported.
__attribute__((no_sanitize("address", "undefined"))) void spoil_static() {
  constexpr uint64_t kGarbageWord = ~uint64_t{0} / 0xFF * kGarbage;
  for (volatile uint64_t* p = emulated_shared_begin; p < emulated_shared_end; ++p) {
    *p = kGarbageWord;
  }
}

}  // namespace

void allocate_shared(size_t bytes) {
  free_shared();
  if (bytes == 0) return;
  void* memory = nullptr;
  if (posix_memalign(&memory, 2 * kLargestAlignment, bytes + kStart) != 0) std::abort();
  allocation = static_cast<unsigned char*>(memory);
#ifdef __SANITIZE_ADDRESS__
  __asan_poison_memory_region(allocation, kStart);
#endif
  shared = allocation + kStart;
  shared_bytes = bytes;
}

void spoil_shared() {
  if (shared) std::memset(shared, kGarbage, shared_bytes);
  spoil_static();
}

bool is_shared(const void* address) {
  const auto* p = static_cast<const unsigned char*>(address);
  return (shared && p >= shared && p < shared + shared_bytes) ||
         (address >= emulated_shared_begin && address < emulated_shared_end);
}

void free_shared() {
  std::free(allocation);
  allocation = nullptr;
  shared = nullptr;
  shared_bytes = 0;
}

}  // namespace emulation
