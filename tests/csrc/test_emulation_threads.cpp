// The emulation itself: geometry, barriers, shared memory, atomics and the launch rules.
#include <cuda_runtime.h>

#include "cuda/dynamic_shared.cuh"
#include "cuda/launch.cuh"
#include "harness.h"

using elite_ops::cuda::dynamic_shared;
using elite_ops::cuda::global_thread;
using elite_ops::cuda::launch_config;

namespace elite_ops::cuda {

// In a header, a kernel template has external linkage, and its variables a section of their own.
template <typename T>
__global__ void read_before_writing(T* out) {
  __shared__ T fixed[8];
  T* tile = dynamic_shared<T>();
  if (threadIdx.x == 0) {
    out[2 * blockIdx.x] = fixed[3];
    out[2 * blockIdx.x + 1] = tile[3];
  }
  __syncthreads();
  fixed[threadIdx.x] = tile[threadIdx.x] = T(0);
}

namespace {

__global__ void read_one_before_writing(int* out) {
  __shared__ int fixed;
  out[blockIdx.x] = fixed;
  fixed = 0;
}

}  // namespace
}  // namespace elite_ops::cuda

namespace {

__global__ void number_threads(int* out) {
  const dim3 grid = gridDim, block = blockDim;
  const unsigned b = blockIdx.x + grid.x * (blockIdx.y + grid.y * blockIdx.z);
  const unsigned t = threadIdx.x + block.x * (threadIdx.y + block.y * threadIdx.z);
  atomicAdd(&out[b * block.x * block.y * block.z + t], 1);
}

// Reverses each block's values through shared memory, many times over.
__global__ void reverse_block(int* values, int rounds) {
  int* tile = dynamic_shared<int>();
  for (int round = 0; round < rounds; ++round) {
    tile[threadIdx.x] = values[global_thread()];
    __syncthreads();
    values[global_thread()] = tile[blockDim.x - 1 - threadIdx.x];
    __syncthreads();
  }
}

__global__ void count_predicates(int* out) {
  const int t = static_cast<int>(threadIdx.x);
  const int threes = __syncthreads_count(t % 3 == 0);
  const int any = __syncthreads_or(t == 5), all = __syncthreads_and(t != 5);
  if (t == 0) out[0] = threes, out[1] = any, out[2] = all;
}

// Half of the threads take part, then all, from warps that are at different places meanwhile.
__global__ void count_atomically(unsigned long long* sum, int* highest, int* tickets) {
  const int i = static_cast<int>(global_thread());
  if (i % 2) atomicAdd(sum, 1ull << 40);
  __syncthreads();
  atomicMax(highest, i);
  tickets[atomicAdd(&tickets[0], 1) + 1] = i;
}

}  // namespace

CASE(every_thread_runs_once) {
  std::vector<int> out(3 * 2 * 2 * 4 * 5 * 2, 0);
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(3, 2, 2);
  config.blockDim = dim3(4, 5, 2);
  CHECK(cudaLaunchKernelEx(&config, number_threads, out.data()) == cudaSuccess);
  CHECK_EQUAL(out, std::vector<int>(out.size(), 1));
}

CASE(block_barriers_order_shared_memory) {
  for (const int threads : {1, 32, 256, 1024}) {
    std::vector<int> values(static_cast<size_t>(threads) * 3), want(values.size());
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<int>(i);
      want[i] =
          static_cast<int>(i) / threads * threads + threads - 1 - static_cast<int>(i) % threads;
    }
    const auto config = launch_config(3, threads, nullptr, sizeof(int) * threads);
    CHECK(cudaLaunchKernelEx(&config, reverse_block, values.data(), 7) == cudaSuccess);
    CHECK_EQUAL(values, want);
  }
}

CASE(barriers_count_predicates) {
  std::vector<int> out(3);
  const auto config = launch_config(1, 100, nullptr);
  CHECK(cudaLaunchKernelEx(&config, count_predicates, out.data()) == cudaSuccess);
  CHECK_EQUAL(out, (std::vector<int>{34, 1, 0}));
}

CASE(atomics_see_every_thread) {
  unsigned long long sum = 0;
  int highest = -1;
  std::vector<int> tickets(2 * 96 + 1, 0);
  const auto config = launch_config(2, 96, nullptr);
  CHECK(cudaLaunchKernelEx(&config, count_atomically, &sum, &highest, tickets.data()) ==
        cudaSuccess);
  CHECK(sum == 96ull << 40);
  CHECK(highest == 191);
  // Tickets are drawn in the order of the schedule, which EMULATION_REVERSED reverses.
  CHECK(tickets[1] == (emulation::reversed() ? 191 : 0));
}

CASE(shared_memory_starts_as_garbage) {
  const int garbage = static_cast<int>(0xABABABABu);
  std::vector<int> out(8, 0);
  auto config = launch_config(4, 8, nullptr, 8 * sizeof(int));
  CHECK(cudaLaunchKernelEx(&config, elite_ops::cuda::read_before_writing<int>, out.data()) ==
        cudaSuccess);
  CHECK_EQUAL(out, std::vector<int>(8, garbage));
  config = launch_config(4, 1, nullptr);
  CHECK(cudaLaunchKernelEx(&config, elite_ops::cuda::read_one_before_writing, out.data()) ==
        cudaSuccess);
  CHECK_EQUAL(out, std::vector<int>(8, garbage));
}

CASE(launches_that_a_device_refuses) {
  int unused = 0;
  auto config = launch_config(1, 1025, nullptr);
  CHECK(cudaLaunchKernelEx(&config, reverse_block, &unused, 0) == cudaErrorInvalidConfiguration);
  CHECK(cudaGetLastError() == cudaErrorInvalidConfiguration);
  CHECK(cudaGetLastError() == cudaSuccess);
  config = launch_config(0, 1, nullptr);
  CHECK(cudaLaunchKernelEx(&config, reverse_block, &unused, 0) == cudaErrorInvalidConfiguration);
  config = launch_config(1, 1, nullptr, 48 * 1024 + 1);
  CHECK(cudaLaunchKernelEx(&config, reverse_block, &unused, 0) == cudaErrorInvalidValue);
  constexpr auto kAttribute = cudaFuncAttributeMaxDynamicSharedMemorySize;
  CHECK(cudaFuncSetAttribute(reverse_block, kAttribute, 227 * 1024 + 1) == cudaErrorInvalidValue);
  CHECK(cudaFuncSetAttribute(reverse_block, kAttribute, 227 * 1024) == cudaSuccess);
  CHECK(cudaLaunchKernelEx(&config, reverse_block, &unused, 0) == cudaSuccess);
}

CASE(memory_calls) {
  std::vector<int> a(5, 7), b(5, 0);
  CHECK(cudaMemcpyAsync(b.data(), a.data(), 4 * sizeof(int), cudaMemcpyDeviceToDevice) ==
        cudaSuccess);
  CHECK_EQUAL(b, (std::vector<int>{7, 7, 7, 7, 0}));
  CHECK(cudaMemsetAsync(b.data(), 0xff, 2 * sizeof(int)) == cudaSuccess);
  CHECK_EQUAL(b, (std::vector<int>{-1, -1, 7, 7, 0}));
  CHECK(cudaMemcpyAsync(b.data(), a.data(), 4, cudaMemcpyDeviceToHost) ==
        cudaErrorInvalidMemcpyDirection);
}
