#include "emulator/async_copy.h"

#include <cstdint>
#include <cstring>
#include <deque>

#include "emulator/block.h"
#include "emulator/shared_memory.h"

namespace emulation {
namespace {

struct Copy {
  void* shared;
  int bytes;
  int64_t group;
  unsigned char data[16];
};

// The copies of one thread that have not arrived, and the number of its committed groups.
struct Queue {
  std::deque<Copy> copies;
  int64_t committed = 0;
};

Queue queues[kMaxThreads];

bool aligned(const void* pointer, int bytes) {
  return reinterpret_cast<uintptr_t>(pointer) % static_cast<uintptr_t>(bytes) == 0;
}

}  // namespace

void start_copy(void* shared, const void* global, int bytes, bool valid) {
  if (!aligned(shared, bytes) || (valid && !aligned(global, bytes))) {
    fail("an asynchronous copy of %d bytes from %p to %p is not aligned", bytes, global, shared);
  }
  if (!is_shared(shared)) fail("an asynchronous copy to %p, which is not shared memory", shared);
  Queue& queue = queues[thread()];
  Copy copy{shared, bytes, queue.committed, {}};
  if (valid) std::memcpy(copy.data, global, static_cast<size_t>(bytes));
  std::memset(shared, kGarbage, static_cast<size_t>(bytes));
  queue.copies.push_back(copy);
}

void commit_copies() { ++queues[thread()].committed; }

void wait_for_copies(int groups_under_way) {
  Queue& queue = queues[thread()];
  const int64_t arrived = queue.committed - groups_under_way;
  while (!queue.copies.empty() && queue.copies.front().group < arrived) {
    const Copy& copy = queue.copies.front();
    std::memcpy(copy.shared, copy.data, static_cast<size_t>(copy.bytes));
    queue.copies.pop_front();
  }
}

void forget_copies(int thread) {
  queues[thread].copies.clear();
  queues[thread].committed = 0;
}

}  // namespace emulation
