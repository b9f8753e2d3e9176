#include "emulator/block.h"

#include <bit>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "emulator/async_copy.h"
#include "emulator/fibre.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

namespace emulation {
namespace {

enum class State { kRunnable, kAtBlockBarrier, kAtWarpBarrier, kExited };

struct Thread {
  uint3 index{};
  State state = State::kRunnable;
  Fibre* fibre = nullptr;  // none before the first instruction and after the last
  Place place;             // of the barrier where it waits
  unsigned mask = 0;       // of the warp barrier where it waits
  void* exchange = nullptr;
};

struct Block {
  Kernel kernel{};
  int num_threads = 0;
  int num_warps = 0;
  Thread threads[kMaxThreads];
  uint32_t runnable[kMaxThreads / kLanes];  // lanes of each warp
  int warp = 0;                             // whose turn it is
  Thread* current = nullptr;
  int at_barrier = 0;
  int predicates = 0;          // of the barrier that is filling
  int counted_predicates = 0;  // of the barrier that was last passed
};

Block block;
// The stack that a launch comes from.
Fibre& host() {
  thread_local Fibre fibre;
  return fibre;
}

// A fibre whose thread has exited serves the next one; they are never more than the threads that
// wait at the same time.
struct Pool {
  std::vector<std::unique_ptr<Fibre>> all;
  std::vector<Fibre*> idle;
  Fibre* take();
} pool;

bool same_place(const Place& a, const Place& b) {
  return a.line() == b.line() && a.column() == b.column() &&
         (a.file_name() == b.file_name() || std::strcmp(a.file_name(), b.file_name()) == 0);
}

bool same_wait(const Thread& a, const Thread& b) {
  if (a.state != b.state) return false;
  if (a.state == State::kExited) return true;
  return same_place(a.place, b.place) && (a.state != State::kAtWarpBarrier || a.mask == b.mask);
}

void describe(const Thread& thread) {
  const Place& place = thread.place;
  if (thread.state == State::kExited) {
    std::fprintf(stderr, "exited\n");
  } else if (thread.state == State::kAtBlockBarrier) {
    std::fprintf(stderr, "at the block barrier in %s:%u\n", place.file_name(), place.line());
  } else {
    std::fprintf(stderr, "in %s:%u for the lanes of mask 0x%08x\n", place.file_name(), place.line(),
                 thread.mask);
  }
}

[[noreturn]] void report_deadlock() {
  std::fprintf(stderr,
               "emulation: block (%u, %u, %u) is stuck: a barrier was not reached, in the same "
               "place, by every thread that it waits for\n",
               blockIdx.x, blockIdx.y, blockIdx.z);
  for (int begin = 0, end = 0; begin < block.num_threads; begin = end) {
    while (end < block.num_threads && same_wait(block.threads[begin], block.threads[end])) ++end;
    std::fprintf(stderr, "  threads %d to %d: ", begin, end - 1);
    describe(block.threads[begin]);
  }
  std::abort();
}

bool block_barrier_complete() {
  if (block.at_barrier < block.num_threads) return false;
  for (int t = 1; t < block.num_threads; ++t) {
    if (!same_wait(block.threads[0], block.threads[t])) return false;
  }
  return true;
}

uint32_t lanes_of_warp(int warp) {
  const int lanes = block.num_threads - warp * kLanes;
  return lanes >= kLanes ? ~0u : (1u << lanes) - 1;
}

void everyone_can_run() {
  for (int w = 0; w < block.num_warps; ++w) block.runnable[w] = lanes_of_warp(w);
  for (int t = 0; t < block.num_threads; ++t) block.threads[t].state = State::kRunnable;
  block.warp = reversed() ? block.num_warps - 1 : 0;
  block.at_barrier = 0;
}

// The next thread in the order of the schedule; null when all have exited.
Thread* next_thread() {
  const int step = reversed() ? -1 : 1;
  for (;;) {
    for (; block.warp >= 0 && block.warp < block.num_warps; block.warp += step) {
      const uint32_t lanes = block.runnable[block.warp];
      if (lanes == 0) continue;
      const int lane = reversed() ? std::bit_width(lanes) - 1 : std::countr_zero(lanes);
      return &block.threads[block.warp * kLanes + lane];
    }
    if (block_barrier_complete()) {
      everyone_can_run();
      block.counted_predicates = std::exchange(block.predicates, 0);
      continue;
    }
    for (int t = 0; t < block.num_threads; ++t) {
      if (block.threads[t].state != State::kExited) report_deadlock();
    }
    return nullptr;
  }
}

void make_current(Thread* thread) {
  block.current = thread;
  if (thread) threadIdx = thread->index;
}

void stop_running(Thread& thread, State state) {
  thread.state = state;
  block.runnable[block.warp] &= ~(1u << lane());
}

// Gives the turn to whoever is next, and returns when the caller is.
void yield() {
  Thread& self = *block.current;
  Thread* next = next_thread();
  if (next == &self) return;
  if (!next->fibre) next->fibre = pool.take();
  make_current(next);
  Fibre::switch_from_to(*self.fibre, *next->fibre);
}

// What every fibre does, for ever. A thread that never waits costs no switch at all: the next one
// starts on the same fibre.
void run_threads() {
  for (;;) {
    block.kernel.call(block.kernel.arguments);
    Thread& finished = *block.current;
    stop_running(finished, State::kExited);
    forget_copies(thread());
    Fibre* mine = std::exchange(finished.fibre, nullptr);
    Thread* next = next_thread();
    if (next && !next->fibre) {
      next->fibre = mine;
      make_current(next);
      continue;
    }
    pool.idle.push_back(mine);
    make_current(next);
    Fibre::switch_from_to(*mine, next ? *next->fibre : host());
  }
}

Fibre* Pool::take() {
  if (idle.empty()) return all.emplace_back(std::make_unique<Fibre>(run_threads)).get();
  Fibre* fibre = idle.back();
  idle.pop_back();
  return fibre;
}

void print_position() {
  if (!block.current) return;
  std::fprintf(stderr, "emulation: in block (%u, %u, %u), thread (%u, %u, %u)\n", blockIdx.x,
               blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
}

}  // namespace

void run_block(Kernel kernel, dim3 size) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_set_death_callback(print_position);
#endif
  block.kernel = kernel;
  block.num_threads = static_cast<int>(size.x * size.y * size.z);
  block.num_warps = (block.num_threads + kLanes - 1) / kLanes;
  unsigned t = 0;
  for (unsigned z = 0; z < size.z; ++z) {
    for (unsigned y = 0; y < size.y; ++y) {
      for (unsigned x = 0; x < size.x; ++x) block.threads[t++].index = {x, y, z};
    }
  }
  everyone_can_run();
  Thread* first = next_thread();
  first->fibre = pool.take();
  make_current(first);
  Fibre::switch_from_to(host(), *first->fibre);
}

int wait_for_block(bool predicate, Place place) {
  Thread& self = *block.current;
  self.place = place;
  ++block.at_barrier;
  block.predicates += predicate;
  stop_running(self, State::kAtBlockBarrier);
  yield();
  return block.counted_predicates;
}

void wait_for_warp(unsigned mask, void* exchange, Combine combine, Place place) {
  Thread& self = *block.current;
  if (!(mask >> lane() & 1)) fail("the mask 0x%08x lacks the calling lane", mask);
  self.place = place;
  self.mask = mask;
  self.exchange = exchange;
  stop_running(self, State::kAtWarpBarrier);
  Thread* const warp = &block.threads[block.warp * kLanes];
  void* exchanges[kLanes] = {};
  // From the lane that the schedule runs last, because that is the one that is missing.
  for (uint32_t rest = mask; rest != 0;) {
    const int l = reversed() ? std::countr_zero(rest) : std::bit_width(rest) - 1;
    rest &= ~(1u << l);
    if (!(lanes_of_warp(block.warp) >> l & 1) || !same_wait(warp[l], self)) return yield();
    exchanges[l] = warp[l].exchange;
  }
  if (combine) combine(exchanges);
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    warp[std::countr_zero(rest)].state = State::kRunnable;
  }
  block.runnable[block.warp] |= mask;
  yield();
}

int thread() { return static_cast<int>(block.current - block.threads); }

int lane() { return thread() % kLanes; }

bool reversed() {
  static const bool set = std::getenv("EMULATION_REVERSED") != nullptr;
  return set;
}

void fail(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::fprintf(stderr, "emulation: ");
  std::vfprintf(stderr, format, arguments);
  std::fprintf(stderr, "\n");
  va_end(arguments);
  print_position();
  std::abort();
}

}  // namespace emulation

// UBSan calls this as it reports an error; AddressSanitizer has the callback of run_block.
extern "C" void __ubsan_on_report() { emulation::print_position(); }
