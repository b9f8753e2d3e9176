// What csrc/cuda/async_copy.cuh declares, without the instructions.
#pragma once

#include "emulator/async_copy.h"

namespace elite_ops::cuda {

inline void cp_async_16(void* shared, const void* global, bool valid = true) {
  emulation::start_copy(shared, global, 16, valid);
}

inline void cp_async_4(void* shared, const void* global, bool valid = true) {
  emulation::start_copy(shared, global, 4, valid);
}

inline void cp_async_commit() { emulation::commit_copies(); }

template <int kGroups>
void cp_async_wait() {
  emulation::wait_for_copies(kGroups);
}

}  // namespace elite_ops::cuda
