#include "memory_pool.h"

#include <pthread.h>

#include <algorithm>
#include <bit>
#include <mutex>
#include <new>
#include <vector>

namespace elite_ops::cpu {
namespace {

// Smaller blocks the C library reuses by itself.
constexpr size_t kLargeBytes = 64 * 1024;

// AddressSanitizer finds what is read behind a block, or after it was returned, only where every
// block has a size and a life of its own.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kKeeps = false;
#else
constexpr bool kKeeps = true;
#endif

// Stands before the memory of a block, and keeps that aligned.
struct alignas(kMemoryAlignment) Block {
  size_t bytes;  // of the memory behind it
};

Block* allocate(size_t bytes) {
  void* memory = ::operator new(sizeof(Block) + bytes, std::align_val_t(kMemoryAlignment));
  return new (memory) Block{bytes};
}

void free_block(Block* block) { ::operator delete(block, std::align_val_t(kMemoryAlignment)); }

// The next size with three bits after the first: scans differ a little, their blocks need not.
size_t rounded(size_t bytes) {
  const size_t step = std::bit_floor(bytes) / 8;
  return (bytes + step - 1) / step * step;
}

class MemoryPool {
 public:
  Block* take(size_t bytes) {
    const std::lock_guard lock(mutex_);
    Block* block = take_kept(bytes);
    if (block == nullptr) {
      block = allocate(bytes);
      ++statistics_.allocations;
    }
    statistics_.in_use += block->bytes;
    most_in_use_ = std::max(most_in_use_, statistics_.in_use);
    shrink_to(2 * most_in_use_ - statistics_.in_use);
    return block;
  }

  void put_back(Block* block) {
    const std::lock_guard lock(mutex_);
    statistics_.in_use -= block->bytes;
    statistics_.kept += block->bytes;
    kept_.push_back(block);
  }

  void release() {
    const std::lock_guard lock(mutex_);
    shrink_to(0);
    most_in_use_ = statistics_.in_use;
  }

  MemoryStatistics statistics() {
    const std::lock_guard lock(mutex_);
    return statistics_;
  }

  // Around a fork: a child has the forking thread alone, and nobody else could unlock its copy.
  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

 private:
  // The smallest kept block that fits, unless it is more than twice as large; the latest of equals.
  Block* take_kept(size_t bytes) {
    auto best = kept_.end();
    for (auto it = kept_.begin(); it != kept_.end(); ++it) {
      const size_t size = (*it)->bytes;
      if (size < bytes || size > 2 * bytes) continue;
      if (best == kept_.end() || size <= (*best)->bytes) best = it;
    }
    if (best == kept_.end()) return nullptr;
    Block* block = *best;
    kept_.erase(best);
    statistics_.kept -= block->bytes;
    return block;
  }

  // Frees what waited longest. A block serves sizes down to its half, so that blocks which were in
  // use one after the other need twice as much as the largest at most.
  void shrink_to(size_t bytes) {
    auto end = kept_.begin();
    for (; statistics_.kept > bytes; ++end) {
      statistics_.kept -= (*end)->bytes;
      free_block(*end);
    }
    kept_.erase(kept_.begin(), end);
  }

  std::mutex mutex_;
  std::vector<Block*> kept_;  // in the order in which they came back
  MemoryStatistics statistics_{};
  size_t most_in_use_ = 0;
};

MemoryPool& pool();

MemoryPool* new_pool() {
  pthread_atfork([] { pool().lock(); }, [] { pool().unlock(); }, [] { pool().unlock(); });
  return new MemoryPool;
}

// Never destroyed: tensors may live longer than any static object.
MemoryPool& pool() {
  static MemoryPool& pool = *new_pool();
  return pool;
}

bool is_kept(size_t bytes) { return kKeeps && bytes >= kLargeBytes; }

}  // namespace

void* take_memory(size_t bytes) {
  return 1 + (is_kept(bytes) ? pool().take(rounded(bytes)) : allocate(bytes));
}

void return_memory(void* memory) {
  if (memory == nullptr) return;
  Block* block = static_cast<Block*>(memory) - 1;
  is_kept(block->bytes) ? pool().put_back(block) : free_block(block);
}

MemoryStatistics memory_statistics() { return pool().statistics(); }

void release_kept_memory() { pool().release(); }

}  // namespace elite_ops::cpu
