// The pool that kernels and results take their memory from, by several threads at a time.
#include <thread>

#include "cpu/memory_pool.h"
#include "cpu/parallel.h"
#include "threads.h"

using namespace elite_ops;

// Blocks of many sizes are filled and looked at again. Every third is returned by another thread
// than took it.
CASE(memory_pool) {
  constexpr int64_t kBlocks = 120;
  threads::check_same_bits([] {
    std::vector<void*> kept(kBlocks);
    std::vector<int64_t> sums(kBlocks);
    cpu::parallel_for(0, kBlocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t size = 1000 + i * i;
        auto* numbers = static_cast<int64_t*>(cpu::take_memory(size * sizeof(int64_t)));
        CHECK(reinterpret_cast<uintptr_t>(numbers) % cpu::kMemoryAlignment == 0);
        std::fill_n(numbers, size, i);
        std::this_thread::yield();
        for (int64_t n = 0; n < size; ++n) sums[i] += numbers[n];
        if (i % 3 == 0) {
          kept[i] = numbers;
        } else {
          cpu::return_memory(numbers);
        }
      }
    });
    for (void* memory : kept) cpu::return_memory(memory);
    return threads::results(sums);
  });
  CHECK(cpu::memory_statistics().in_use == 0);
  cpu::release_kept_memory();
  CHECK(cpu::memory_statistics().kept == 0);
}
