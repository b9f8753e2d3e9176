#include "emulator/shared_memory.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

extern "C" uint64_t emulated_shared_begin[], emulated_shared_end[];  // by shared_memory.ld

namespace emulation {

unsigned char* shared = nullptr;

namespace {

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
  constexpr size_t kAlignment = 16;
  free_shared();
  if (bytes == 0) return;
  // 16 bytes past a multiple of 32, so that code that counts on more alignment than it asked for
  // meets UBSan's alignment check.
  void* memory = nullptr;
  if (posix_memalign(&memory, 2 * kAlignment, bytes + kAlignment) != 0) std::abort();
  allocation = static_cast<unsigned char*>(memory);
#ifdef __SANITIZE_ADDRESS__
  __asan_poison_memory_region(allocation, kAlignment);
#endif
  shared = allocation + kAlignment;
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
