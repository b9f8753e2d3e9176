// One block of threads: which of them can run, who waits for whom, and what is an error.
//
// Order. A warp runs as far as it can before the next warp gets a turn, and inside a warp a lane
// runs as far as it can before the next lane: the largest skew that the barriers in the source
// permit. Code that lacks a barrier then reads what isn't written yet, in the forward order or in
// the reversed one (EMULATION_REVERSED=1), which goes from the last block, warp and lane to the
// first.
//
// Barriers. A barrier is complete when every thread of the block, or every lane named in the mask,
// is at the same place in the source. When nobody can run and no barrier is complete, the program
// stops and says who waits where. Threads that have exited are not excused: recent devices would
// let the others pass, but a barrier after an early return is one edit away from a hang.
#pragma once

#include <cstdint>
#include <source_location>

#include "emulator/vector_types.h"

namespace emulation {

constexpr int kLanes = 32;
constexpr int kMaxThreads = 1024;

using Place = std::source_location;

// What every thread of the block calls.
struct Kernel {
  void (*call)(void*);
  void* arguments;
};

void run_block(Kernel kernel, dim3 size);

// Waits for all threads of the block; returns how many of them passed a true predicate.
int wait_for_block(bool predicate, Place place);

// Waits for the lanes in `mask`. The last one to arrive calls `combine` with what all of them
// brought (null for a lane outside the mask), and then everybody goes on.
using Combine = void (*)(void* const (&exchanges)[kLanes]);
void wait_for_warp(unsigned mask, void* exchange, Combine combine, Place place);

int lane();    // of the running thread
int thread();  // number of the running thread in its block
bool reversed();

// Says what is wrong and with which thread, and ends the program.
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace emulation

inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;
constexpr int warpSize = emulation::kLanes;
