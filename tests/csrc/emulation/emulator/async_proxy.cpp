#include "emulator/async_proxy.h"

#include <cstdint>

#include "emulator/block.h"
#include "emulator/shared_memory.h"

namespace emulation {
namespace {

constexpr int kVectorBytes = 16;

// Who wrote a vector of dynamic shared memory last, and which of the thread's writes it was.
struct Write {
  int thread = 0;
  int64_t number = 0;
};

Write writes[kSharedBytesAtMost / kVectorBytes];
int64_t written[kMaxThreads], fenced[kMaxThreads];  // writes of each thread

Write* write_of(const void* address) {
  if (!is_dynamic_shared(address)) return nullptr;
  return &writes[(static_cast<const unsigned char*>(address) - shared) / kVectorBytes];
}

}  // namespace

void note_write(const void* address) {
  if (Write* write = write_of(address)) *write = {thread(), ++written[thread()]};
}

void fence_async_proxy() { fenced[thread()] = written[thread()]; }

void check_fenced(const void* address) {
  const Write* write = write_of(address);
  if (write && write->number > fenced[write->thread]) {
    fail("a product reads shared memory that thread %d wrote without fence_async_proxy",
         write->thread);
  }
}

void forget_writes(int thread) { fenced[thread] = written[thread]; }

}  // namespace emulation
