// Copies from global to shared memory that run beside the program (sm_80's cp.async).
//
// A thread starts copies, commits them as a group, and waits until at most N of its latest groups
// are under way. What it waited for is then visible to itself; a barrier makes it visible to the
// block. From its start until then the destination is undefined.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#ifdef __CUDACC__

namespace elite_ops::cuda {

__device__ __forceinline__ uint32_t shared_address(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

// Copies 16 bytes between addresses that are multiples of 16, past the L1 cache. When not `valid`,
// writes zeros and doesn't read.
__device__ __forceinline__ void cp_async_16(void* shared, const void* global, bool valid = true) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
               "l"(__cvta_generic_to_global(global)), "r"(valid ? 16 : 0)
               : "memory");
}

// Copies 4 bytes between addresses that are multiples of 4. When not `valid`, writes zeros and
// doesn't read.
__device__ __forceinline__ void cp_async_4(void* shared, const void* global, bool valid = true) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(shared)),
               "l"(__cvta_generic_to_global(global)), "r"(valid ? 4 : 0)
               : "memory");
}

// Makes a group of the copies started since the last commit; an empty group counts as one.
__device__ __forceinline__ void cp_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most `kGroups` of the latest groups are under way.
template <int kGroups>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroups) : "memory");
}

}  // namespace elite_ops::cuda

#else
#include "emulated_async_copy.h"
#endif
