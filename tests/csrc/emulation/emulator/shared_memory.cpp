#include "emulator/shared_memory.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

// The linker defines these when an object has the section.
extern "C" {
extern unsigned char __start_emulated_shared[] __attribute__((weak));
extern unsigned char __stop_emulated_shared[] __attribute__((weak));
}

namespace emulation {

unsigned char* shared = nullptr;

namespace {

size_t shared_bytes = 0;
unsigned char* allocation = nullptr;

// The section includes the red zones between the variables: their contents are free to overwrite,
// but an instrumented access, or the intercepted memset, would be reported.
__attribute__((no_sanitize("address", "undefined"))) void spoil_static() {
  for (unsigned char* p = __start_emulated_shared; p < __stop_emulated_shared; ++p) {
    *static_cast<volatile unsigned char*>(p) = kGarbage;
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
         (p >= __start_emulated_shared && p < __stop_emulated_shared);
}

void free_shared() {
  std::free(allocation);
  allocation = nullptr;
  shared = nullptr;
  shared_bytes = 0;
}

}  // namespace emulation
