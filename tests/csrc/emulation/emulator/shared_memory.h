// Shared memory of the running block.
//
// Static: `__shared__` makes the variable static, which AddressSanitizer surrounds with red zones;
// shared_memory.ld gathers them in one section. (GCC ignores a section attribute in a template.)
// Dynamic: a heap block of exactly the requested size, aligned as `extern __shared__` guarantees
// and no better. Both are filled with garbage before every block, as shared memory starts undefined
// on a device.
#pragma once

#include <cstddef>

namespace emulation {

constexpr size_t kSharedBytesByDefault = 48 * 1024;
constexpr size_t kSharedBytesAtMost = 227 * 1024;  // sm_90, after asking for it

constexpr unsigned char kGarbage = 0xAB;

extern unsigned char* shared;  // the dynamic part; null when the launch asked for none

void allocate_shared(size_t bytes);
void spoil_shared();
void free_shared();

// Whether the address lies in static or dynamic shared memory.
bool is_shared(const void* address);

}  // namespace emulation
