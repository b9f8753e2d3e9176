// Processes that are forked while other threads use the memory pool, as loaders of data do.
#include "cases.h"

// Sanitizers and emulators of processors have limits of their own here.
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "cpu/memory_pool.h"

using namespace elite_ops;

CASE(children_use_the_memory_pool) {
  constexpr int kChildren = 200, kThreads = 2;
  constexpr unsigned kSecondsUntilItHangs = 20;
  constexpr size_t kBytes = 1 << 16;
  std::atomic<bool> stop = false;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (size_t i = 0; !stop; ++i) cpu::return_memory(cpu::take_memory(kBytes << (i % 8)));
    });
  }
  int failed = 0;
  for (int i = 0; i < kChildren && failed == 0; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(kSecondsUntilItHangs);
      auto* number = static_cast<int64_t*>(cpu::take_memory(kBytes));
      *number = i;
      cpu::return_memory(number);
      _exit(0);
    }
    int status = 0;
    failed += child < 0 || waitpid(child, &status, 0) != child || status != 0;
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  CHECK(failed == 0);
  cpu::release_kept_memory();
}

#endif
