// Memory that is handed out again. The C library gives large blocks back to the system when they
// are freed, and the system clears every page that it hands out anew: on the results of a network,
// tens of megabytes a call, that takes time that can be measured.
#pragma once

#include <cstddef>
#include <cstdint>

namespace elite_ops::cpu {

constexpr size_t kMemoryAlignment = 64;  // a cache line, so that vector loads don't straddle two

// Uninitialized memory, from any thread. Throws std::bad_alloc.
void* take_memory(size_t bytes);

// Takes back what take_memory() gave, from any thread; null is nothing.
void return_memory(void* memory);

// The first two together are at most twice what was in use at once.
struct MemoryStatistics {
  size_t in_use;         // bytes handed out, large blocks only
  size_t kept;           // bytes that wait to be handed out again
  uint64_t allocations;  // large blocks that came from the system so far
};

MemoryStatistics memory_statistics();

// Gives what is kept back to the system.
void release_kept_memory();

}  // namespace elite_ops::cpu
