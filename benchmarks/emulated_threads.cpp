// How fast the host emulation runs kernels (docs/adr/0002-emulated-kernels.md):
//   make build/emulated/emulated_threads && build/emulated/emulated_threads
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

#include "cuda/dynamic_shared.cuh"
#include "cuda/launch.cuh"
#include "cuda/mma.cuh"

namespace elite_ops::cuda {
namespace {

__global__ void scale(float* values) { values[global_thread()] *= 2.f; }

__global__ void warp_sums(float* values) {
  float sum = values[global_thread()];
  for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
  values[global_thread()] = sum;
}

__global__ void block_sums(float* values) {
  float* tile = dynamic_shared<float>();
  tile[threadIdx.x] = values[global_thread()];
  for (unsigned stride = blockDim.x / 2; stride > 0; stride /= 2) {
    __syncthreads();
    if (threadIdx.x < stride) tile[threadIdx.x] += tile[threadIdx.x + stride];
  }
  __syncthreads();
  values[global_thread()] = tile[0];
}

__global__ void products(float* values) {
  const uint32_t a[4] = {}, b[2] = {};
  float acc[4] = {};
  for (int i = 0; i < 32; ++i) mma_m16n8k16<__half>(acc, a, b);
  values[global_thread()] = acc[0];
}

// The best of three runs, per second of processor time.
void report(const char* name, void (*kernel)(float*), int blocks, int threads, int waits) {
  std::vector<float> values(static_cast<size_t>(blocks) * threads, 1.f);
  const auto config = launch_config(blocks, threads, nullptr, sizeof(float) * threads);
  double best = 1e30;
  for (int run = 0; run < 3; ++run) {
    const std::clock_t start = std::clock();
    if (cudaLaunchKernelEx(&config, kernel, values.data()) != cudaSuccess) std::abort();
    best = std::min(best, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
  }
  const double total = static_cast<double>(blocks) * threads;
  std::printf("%-44s %7.2f M threads/s %7.2f M waits/s\n", name, total / best / 1e6,
              total * waits / best / 1e6);
}

}  // namespace
}  // namespace elite_ops::cuda

int main() {
  using namespace elite_ops::cuda;
  report("no barrier, blocks of 256", scale, 8192, 256, 0);
  report("5 shuffles, blocks of 256", warp_sums, 512, 256, 5);
  report("9 block barriers, blocks of 256", block_sums, 512, 256, 9);
  report("11 block barriers, blocks of 1024", block_sums, 64, 1024, 11);
  report("32 m16n8k16 products, blocks of 32", products, 64, 32, 32);
}
