// A fibre: a stack of its own, and the place where the code on it was left. Switching is
// cooperative, within one OS thread.
#pragma once

#include <cstddef>

// glibc's swapcontext makes two system calls a switch, and AddressSanitizer's interceptor clears
// the shadow of the stack that it switches to, so that overflows of local arrays go unseen from
// then on. Where we know the calling convention we therefore switch by hand.
#if !defined(__x86_64__) && !defined(EMULATION_UCONTEXT)
#define EMULATION_UCONTEXT
#endif
#ifdef EMULATION_UCONTEXT
#include <ucontext.h>
#endif

namespace emulation {

class Fibre {
 public:
  // The fibre that the calling OS thread runs on: nothing to start, only a place to come back to.
  Fibre();
  // A new fibre; the first switch to it calls `entry`, which never returns.
  explicit Fibre(void (*entry)());
  ~Fibre();
  Fibre(const Fibre&) = delete;
  Fibre& operator=(const Fibre&) = delete;

  // Leaves `from`, which must be the running fibre, and goes on in `to`.
  static void switch_from_to(Fibre& from, Fibre& to);

 private:
  static void start();

  void (*entry_)() = nullptr;
  char* mapping_ = nullptr;       // the guard page and the stack above it; none for the OS thread's
  const void* bottom_ = nullptr;  // lowest address of the stack, for AddressSanitizer
  size_t size_ = 0;
#ifdef EMULATION_UCONTEXT
  ucontext_t context_;
#else
  void* stack_pointer_ = nullptr;
#endif
};

}  // namespace emulation
