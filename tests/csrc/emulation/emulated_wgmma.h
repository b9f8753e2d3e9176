// What csrc/cuda/wgmma.cuh declares, without the instructions.
#pragma once

#include "emulated_mma.h"
#include "emulator/async_proxy.h"
#include "emulator/warpgroup.h"

namespace elite_ops::cuda {

inline void fence_async_proxy() { emulation::fence_async_proxy(); }

inline void wgmma_fence(float (&)[8][4], emulation::Place place = emulation::Place::current()) {
  emulation::fence_products(place);
}

inline void wgmma_commit(emulation::Place place = emulation::Place::current()) {
  emulation::commit_products(place);
}

template <int kGroups>
void wgmma_wait(float (&)[8][4], emulation::Place place = emulation::Place::current()) {
  emulation::wait_for_products(kGroups, place);
}

template <typename scalar_t>
void wgmma_m64n64k16(float (&sums)[8][4], uint64_t a, uint64_t b,
                     emulation::Place place = emulation::Place::current()) {
  emulation::multiply_64x64x16(sums[0], a, b, emulation::all_numbers<scalar_t>(), place);
}

}  // namespace elite_ops::cuda
