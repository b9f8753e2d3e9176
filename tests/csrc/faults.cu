// Kernels with one fault each, that test_emulation_catches.py expects the emulation to notice, and
// the same kernels without the fault, which must pass:
//   faults NAME [correct]
// Exits with 1 and a message when the result is wrong, unless a check has ended the program before.
#include <cstdio>
#include <cstring>
#include <vector>

#include "cuda/async_copy.cuh"
#include "cuda/dynamic_shared.cuh"
#include "cuda/launch.cuh"

namespace elite_ops::cuda {
namespace {

constexpr int kThreads = 64;
constexpr unsigned kAllLanes = 0xffffffffu;

__device__ int thread() { return static_cast<int>(threadIdx.x); }

// ---- kernels that turn 0, 1, 2, ... of each block around

template <bool kFaulty>
__global__ void no_block_barrier(const int* in, int* out) {
  __shared__ int tile[kThreads];
  tile[thread()] = in[global_thread()];
  if (!kFaulty) __syncthreads();
  out[global_thread()] = tile[kThreads - 1 - thread()];
}

// Two rounds through the same tile: without the second barrier it is overwritten while being read.
template <bool kFaulty>
__global__ void no_barrier_before_reuse(const int* in, int* out) {
  __shared__ int tile[kThreads];
  int value = in[global_thread()];
  for (int round = 0; round < 3; ++round) {
    tile[thread()] = value;
    __syncthreads();
    value = tile[kThreads - 1 - thread()];
    if (!kFaulty) __syncthreads();
  }
  out[global_thread()] = value;
}

template <bool kFaulty>
__global__ void no_warp_barrier(const int* in, int* out) {
  __shared__ int tile[kThreads];
  const int other = thread() ^ 31;
  tile[thread()] = in[global_thread()];
  if (!kFaulty) __syncwarp();
  const int mirrored = tile[other];
  __syncthreads();
  tile[thread()] = mirrored;
  __syncthreads();
  out[global_thread()] = tile[thread() ^ 32];
}

template <bool kFaulty>
__global__ void static_shared_overflow(const int* in, int* out) {
  __shared__ int array[kThreads];
  int* volatile tile = array;  // UBSan knows an array's bounds; this leaves it to AddressSanitizer
  tile[thread()] = in[global_thread()];
  __syncthreads();
  out[global_thread()] = tile[kThreads - thread() - (kFaulty ? 0 : 1)];
}

template <bool kFaulty>
__global__ void dynamic_shared_overflow(const int* in, int* out) {
  int* tile = dynamic_shared<int>();
  tile[thread()] = in[global_thread()];
  __syncthreads();
  out[global_thread()] = tile[kThreads - thread() - (kFaulty ? 0 : 1)];
}

template <bool kFaulty>
__global__ void global_overflow(const int* in, int* out) {
  const int64_t n = static_cast<int64_t>(gridDim.x) * blockDim.x;
  const int64_t turned = global_thread() - thread() + kThreads - 1 - thread();
  const int64_t next = min(turned + 1, kFaulty ? n : n - 1);
  out[global_thread()] = min(in[turned], in[next]);  // the first: the numbers rise
}

// The local array lies on the stack of a fibre, which is left and entered again in between.
template <bool kFaulty>
__global__ void local_overflow(const int* in, int* out) {
  __shared__ int tile[kThreads];
  int array[4] = {in[global_thread()], 0, 0, 0};
  int* volatile local = array;
  tile[thread()] = local[0];
  __syncthreads();
  const int last = static_cast<int>(blockDim.x) / 16 - (kFaulty ? 0 : 1);
  local[last] = tile[kThreads - 1 - thread()];
  __syncthreads();
  out[global_thread()] = local[last];
}

template <bool kFaulty>
__global__ void divergent_barrier(const int* in, int* out) {
  __shared__ int tile[kThreads];
  tile[thread()] = in[global_thread()];
  if (!kFaulty || thread() < 40) __syncthreads();
  out[global_thread()] = tile[kThreads - 1 - thread()];
  __syncthreads();
}

template <bool kFaulty>
__global__ void return_before_barrier(const int* in, int* out) {
  __shared__ int tile[kThreads];
  tile[thread()] = in[global_thread()];
  if (kFaulty && in[global_thread()] < 0) return;
  __syncthreads();
  out[global_thread()] = tile[kThreads - 1 - thread()];
}

template <bool kFaulty>
__global__ void two_barriers_for_one(const int* in, int* out) {
  __shared__ int tile[kThreads];
  tile[thread()] = in[global_thread()];
  if (kFaulty && thread() < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  out[global_thread()] = tile[kThreads - 1 - thread()];
}

template <bool kFaulty>
__global__ void lane_missing_from_shuffle(const int* in, int* out) {
  __shared__ int tile[kThreads];
  tile[thread() ^ 32] = in[global_thread()];
  __syncthreads();
  int value = tile[thread()];
  if (!kFaulty || thread() % 32 != 7) value = __shfl_xor_sync(kAllLanes, value, 31);
  out[global_thread()] = value;
}

template <bool kFaulty>
__global__ void shuffle_from_outside_the_mask(const int* in, int* out) {
  __shared__ int tile[kThreads];
  tile[thread() ^ 48] = in[global_thread()];
  __syncthreads();
  const unsigned half = thread() % 32 < 16 ? 0x0000ffffu : 0xffff0000u;
  out[global_thread()] = __shfl_xor_sync(half, tile[thread()], kFaulty ? 31 : 15);
}

// Slots that are drawn with an atomic come in the order of the schedule.
template <bool kFaulty>
__global__ void order_of_atomics(const int* in, int* out) {
  __shared__ int drawn;
  __shared__ int tile[kThreads];
  if (thread() == 0) drawn = 0;
  __syncthreads();
  tile[kFaulty ? atomicAdd(&drawn, 1) : thread()] = in[global_thread()];
  __syncthreads();
  out[global_thread()] = tile[kThreads - 1 - thread()];
}

template <bool kFaulty>
__global__ void shared_memory_taken_for_zero(const int* in, int* out) {
  __shared__ int arrived;
  if (!kFaulty && thread() == 0) arrived = 0;
  __syncthreads();
  atomicAdd(&arrived, 1);
  __syncthreads();
  const int turned = in[global_thread() - thread() + kThreads - 1 - thread()];
  out[global_thread()] = turned + arrived - kThreads;
}

template <bool kFaulty>
__global__ void misaligned_vector(const int* in, int* out) {
  int* tile = dynamic_shared<int>();
  tile[thread()] = in[global_thread()];
  __syncthreads();
  const int pair = (kThreads - 1 - thread()) / 2 * 2;
  const int2 both = *reinterpret_cast<const int2*>(&tile[pair + (kFaulty && pair > 0 ? -1 : 0)]);
  out[global_thread()] = thread() % 2 ? both.x : both.y;
}

// Copies the next block's numbers and then its own over them; both must be read.
template <bool kWait, bool kCommit, bool kSync>
__device__ void turn_with_copies(const int* in, int* out) {
  int* tile = dynamic_shared<int>();
  const int64_t n = static_cast<int64_t>(gridDim.x) * blockDim.x;
  int distance = 0;
  for (const int64_t ahead : {kThreads, 0}) {
    cp_async_4(&tile[thread()], &in[(global_thread() + ahead) % n]);
    if (kCommit) cp_async_commit();
    if (kWait) cp_async_wait<0>();
    __syncthreads();
    distance = tile[kThreads - 1 - thread()] - distance;
    if (kSync) __syncthreads();
  }
  const int64_t turned = global_thread() - thread() + kThreads - 1 - thread();
  out[global_thread()] = distance + in[(turned + kThreads) % n];
}

template <bool kFaulty>
__global__ void copy_without_wait(const int* in, int* out) {
  turn_with_copies<!kFaulty, true, true>(in, out);
}
template <bool kFaulty>
__global__ void copy_without_commit(const int* in, int* out) {
  turn_with_copies<true, !kFaulty, true>(in, out);
}
template <bool kFaulty>
__global__ void copy_over_what_is_read(const int* in, int* out) {
  turn_with_copies<true, true, !kFaulty>(in, out);
}

template <bool kFaulty>
__global__ void too_much_shared_memory(const int* in, int* out) {
  no_block_barrier<false>(in, out);
}

// ---- running one of them

using Kernel = void (*)(const int*, int*);

struct Fault {
  const char* name;
  Kernel faulty, repaired;
  int threads = kThreads;
  size_t shared_bytes = kThreads * sizeof(int);
  void (*prepare)(bool correct) = nullptr;  // what the host does before the launch
};

constexpr int kManyBytes = 100 * 1024;  // more than a kernel gets without asking

void allow_shared(Kernel kernel, int bytes) {
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
}

// Only the repaired kernel asks.
void ask_for_one(bool) { allow_shared(too_much_shared_memory<false>, kManyBytes); }

// As two threads do that each ask for what their own launch needs.
void ask_for_less(bool correct) {
  allow_shared(no_block_barrier<false>, kManyBytes);
  allow_shared(no_block_barrier<false>, correct ? kManyBytes : kManyBytes / 2);
}

#define FAULT(name) {#name, name<true>, name<false>}
constexpr Fault kFaults[] = {
    FAULT(no_block_barrier),
    FAULT(no_barrier_before_reuse),
    FAULT(no_warp_barrier),
    FAULT(static_shared_overflow),
    FAULT(dynamic_shared_overflow),
    FAULT(global_overflow),
    FAULT(local_overflow),
    FAULT(divergent_barrier),
    FAULT(return_before_barrier),
    FAULT(two_barriers_for_one),
    FAULT(lane_missing_from_shuffle),
    FAULT(shuffle_from_outside_the_mask),
    FAULT(order_of_atomics),
    FAULT(shared_memory_taken_for_zero),
    FAULT(misaligned_vector),
    FAULT(copy_without_wait),
    FAULT(copy_without_commit),
    FAULT(copy_over_what_is_read),
    {"too_much_shared_memory", too_much_shared_memory<true>, too_much_shared_memory<false>,
     kThreads, kManyBytes, ask_for_one},
    {"lowered_shared_memory", no_block_barrier<false>, no_block_barrier<false>, kThreads,
     kManyBytes / 2, ask_for_less},
};
#undef FAULT

int run(Kernel kernel, int threads, size_t shared_bytes) {
  constexpr int kBlocks = 3;
  std::vector<int> in(kBlocks * kThreads), out(in.size());
  for (int i = 0; i < kBlocks * kThreads; ++i) in[i] = i - 100;
  const auto config = launch_config(kBlocks, threads, nullptr, shared_bytes);
  const cudaError_t status = cudaLaunchKernelEx(&config, kernel, in.data(), out.data());
  if (status != cudaSuccess) {
    std::fprintf(stderr, "launch: %s\n", cudaGetErrorString(status));
    return 1;
  }
  for (int i = 0; i < kBlocks * kThreads; ++i) {
    const int want = in[i / kThreads * kThreads + kThreads - 1 - i % kThreads];
    if (out[i] != want) {
      std::fprintf(stderr, "wrong result: element %d is %d, expected %d\n", i, out[i], want);
      return 1;
    }
  }
  return 0;
}

}  // namespace
}  // namespace elite_ops::cuda

int main(int count, char** arguments) {
  using namespace elite_ops::cuda;
  const char* name = count > 1 ? arguments[1] : "";
  const bool correct = count > 2 && std::strcmp(arguments[2], "correct") == 0;
  for (const Fault& fault : kFaults) {
    if (count == 1) std::printf("%s\n", fault.name);
    if (std::strcmp(fault.name, name) != 0) continue;
    if (fault.prepare) fault.prepare(correct);
    return run(correct ? fault.repaired : fault.faulty, fault.threads, fault.shared_bytes);
  }
  return count == 1 ? 0 : 2;
}
