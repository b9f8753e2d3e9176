// Block and warp barriers. The place in the source comes along as a default argument, so that
// threads that wait at different barriers are told apart and named in the message.
#pragma once

#include "emulator/block.h"

inline void __syncthreads(emulation::Place place = emulation::Place::current()) {
  emulation::wait_for_block(false, place);
}
inline int __syncthreads_count(int predicate,
                               emulation::Place place = emulation::Place::current()) {
  return emulation::wait_for_block(predicate != 0, place);
}
inline int __syncthreads_or(int predicate, emulation::Place place = emulation::Place::current()) {
  return emulation::wait_for_block(predicate != 0, place) > 0;
}
inline int __syncthreads_and(int predicate, emulation::Place place = emulation::Place::current()) {
  return emulation::wait_for_block(predicate == 0, place) == 0;
}

inline void __syncwarp(unsigned mask = 0xffffffffu,
                       emulation::Place place = emulation::Place::current()) {
  emulation::wait_for_warp(mask, nullptr, nullptr, place);
}

// Threads take turns only at barriers, so memory is always seen in program order.
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
