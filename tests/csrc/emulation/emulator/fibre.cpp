#include "emulator/fibre.h"

#include <pthread.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

namespace emulation {
namespace {

// Address space, not memory: the kernel backs only the pages that a kernel under test touches, so
// that a block of 1024 threads stays cheap while a thread with large local arrays has room.
constexpr size_t kStackBytes = 256 * 1024;
constexpr size_t kGuardBytes = 64 * 1024;  // at least a page on every Linux

Fibre* arriving = nullptr;  // the fibre that a switch is on its way to

// AddressSanitizer must know on which stack the code runs: it clears that stack's shadow before a
// call that doesn't return, and describes stack addresses in its reports.
void announce_switch([[maybe_unused]] void** fake_stack, [[maybe_unused]] const void* bottom,
                     [[maybe_unused]] size_t size) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(fake_stack, bottom, size);
#endif
}

void confirm_switch([[maybe_unused]] void* fake_stack) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
}

}  // namespace

#ifndef EMULATION_UCONTEXT
// Saves the registers that the System V calling convention asks a callee to preserve on the stack
// being left, and restores them from the other one.
extern "C" void emulation_switch_stack(void** left, void* entered);
asm(R"(
  .text
  .globl emulation_switch_stack
  .hidden emulation_switch_stack
  .type emulation_switch_stack, @function
emulation_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size emulation_switch_stack, .-emulation_switch_stack
)");
#endif

Fibre::Fibre() {
  pthread_attr_t attributes;
  void* lowest = nullptr;
  pthread_getattr_np(pthread_self(), &attributes);
  pthread_attr_getstack(&attributes, &lowest, &size_);
  pthread_attr_destroy(&attributes);
  bottom_ = lowest;
}

Fibre::Fibre(void (*entry)()) : entry_(entry), size_(kStackBytes) {
  void* mapping = mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED || mprotect(mapping, kGuardBytes, PROT_NONE) != 0) {
    std::perror("emulation: no memory for the stack of a thread");
    std::abort();
  }
  mapping_ = static_cast<char*>(mapping);
  char* stack = mapping_ + kGuardBytes;
  bottom_ = stack;
#ifdef EMULATION_UCONTEXT
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack;
  context_.uc_stack.ss_size = kStackBytes;
  context_.uc_link = nullptr;
  makecontext(&context_, &Fibre::start, 0);
#else
  // As if `start` had just been called, by nobody, and had then been left: its return address, a
  // zero where unwinding ends, and six zero registers.
  auto* top = reinterpret_cast<void**>(stack + kStackBytes);
  top[-1] = nullptr;
  top[-2] = reinterpret_cast<void*>(&Fibre::start);
  for (int i = 3; i <= 8; ++i) top[-i] = nullptr;
  stack_pointer_ = top - 8;
#endif
}

Fibre::~Fibre() {
  if (mapping_) munmap(mapping_, kGuardBytes + kStackBytes);
}

void Fibre::start() {
  confirm_switch(nullptr);
  arriving->entry_();
  std::abort();  // an entry never returns
}

void Fibre::switch_from_to(Fibre& from, Fibre& to) {
  void* fake_stack = nullptr;
  arriving = &to;
  announce_switch(&fake_stack, to.bottom_, to.size_);
#ifdef EMULATION_UCONTEXT
  swapcontext(&from.context_, &to.context_);
#else
  emulation_switch_stack(&from.stack_pointer_, to.stack_pointer_);
#endif
  confirm_switch(fake_stack);
}

}  // namespace emulation
