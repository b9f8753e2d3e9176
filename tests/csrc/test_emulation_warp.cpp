// The emulation's warp collectives, each against its definition, over full and partial masks.
#include <cuda_runtime.h>

#include "cuda/launch.cuh"
#include "harness.h"

using elite_ops::cuda::launch_config;

namespace {

constexpr unsigned kAll = 0xffffffffu;

template <typename T>
__global__ void shuffles(const T* in, T* out) {
  const int t = static_cast<int>(threadIdx.x), n = static_cast<int>(blockDim.x);
  const T v = in[t];
  out[0 * n + t] = __shfl_sync(kAll, v, 35);    // lane 3 of the warp
  out[1 * n + t] = __shfl_sync(kAll, v, 1, 8);  // lane 1 of each eight
  out[2 * n + t] = __shfl_up_sync(kAll, v, 3);
  out[3 * n + t] = __shfl_down_sync(kAll, v, 5, 16);
  out[4 * n + t] = __shfl_xor_sync(kAll, v, 9);
}

template <typename T>
void check_shuffles() {
  constexpr int kThreads = 64;
  harness::Random random(1);
  const std::vector<T> in = random.uniform_vector<T>(kThreads, -100.f, 100.f);
  std::vector<T> out(5 * kThreads), want;
  const auto config = launch_config(1, kThreads, nullptr);
  CHECK(cudaLaunchKernelEx(&config, shuffles<T>, in.data(), out.data()) == cudaSuccess);
  const auto expect = [&](auto source) {
    for (int t = 0; t < kThreads; ++t) want.push_back(in[t / 32 * 32 + source(t % 32)]);
  };
  expect([](int) { return 3; });
  expect([](int l) { return l / 8 * 8 + 1; });
  expect([](int l) { return l < 3 ? l : l - 3; });
  expect([](int l) { return l % 16 + 5 < 16 ? l + 5 : l; });
  expect([](int l) { return l ^ 9; });
  CHECK_EQUAL(out, want);
}

__global__ void votes(const int* in, unsigned* out) {
  const int t = static_cast<int>(threadIdx.x);
  const int v = in[t];
  out[t] = __ballot_sync(kAll, v == 2);
  out[32 + t] = static_cast<unsigned>(__any_sync(kAll, v == 2));
  out[64 + t] = static_cast<unsigned>(__all_sync(kAll, v < 4));
  out[96 + t] = __match_any_sync(kAll, v);
}

// The two halves of the warp are in different collectives at the same time.
__global__ void halves(const int* in, int* out) {
  const int t = static_cast<int>(threadIdx.x);
  int v = in[t];
  if (t < 16) {
    for (int offset = 8; offset > 0; offset /= 2) v += __shfl_xor_sync(0x0000ffffu, v, offset);
  } else {
    v = __reduce_max_sync(0xffff0000u, v);
  }
  __syncwarp();
  out[t] = v;
}

__global__ void reductions(const int* in, int* out) {
  const int t = static_cast<int>(threadIdx.x);
  const auto u = static_cast<unsigned>(in[t]);
  out[0 * 32 + t] = __reduce_add_sync(kAll, in[t]);
  out[1 * 32 + t] = __reduce_min_sync(kAll, in[t]);
  out[2 * 32 + t] = __reduce_max_sync(kAll, in[t]);
  out[3 * 32 + t] = static_cast<int>(__reduce_or_sync(kAll, 1u << u));
  out[4 * 32 + t] = static_cast<int>(__reduce_and_sync(kAll, ~u));
  out[5 * 32 + t] = static_cast<int>(__reduce_xor_sync(kAll, u));
}

std::vector<int> small_numbers() {
  harness::Random random(2);
  std::vector<int> in(32);
  for (int& v : in) v = static_cast<int>(random.integer(4));
  return in;
}

}  // namespace

CASE(shuffles_of_every_width_of_word) {
  check_shuffles<int>();
  check_shuffles<float>();
  check_shuffles<double>();
  check_shuffles<long long>();
}

CASE(votes_and_matches) {
  const std::vector<int> in = small_numbers();
  std::vector<unsigned> out(128), want(128, 0);
  for (unsigned l = 0; l < 32; ++l) {
    for (unsigned m = 0; m < 32; ++m) {
      want[l] |= unsigned{in[m] == 2} << m;
      want[96 + l] |= unsigned{in[m] == in[l]} << m;
    }
    want[32 + l] = want[l] != 0;
    want[64 + l] = 1;
  }
  const auto config = launch_config(1, 32, nullptr);
  CHECK(cudaLaunchKernelEx(&config, votes, in.data(), out.data()) == cudaSuccess);
  CHECK_EQUAL(out, want);
}

CASE(halves_of_a_warp_part_and_meet) {
  const std::vector<int> in = small_numbers();
  std::vector<int> out(32), want(32, 0);
  for (size_t t = 0; t < 32; ++t) {
    for (size_t s = t / 16 * 16; s < t / 16 * 16 + 16; ++s) {
      want[t] = t < 16 ? want[t] + in[s] : std::max(want[t], in[s]);
    }
  }
  const auto config = launch_config(1, 32, nullptr);
  CHECK(cudaLaunchKernelEx(&config, halves, in.data(), out.data()) == cudaSuccess);
  CHECK_EQUAL(out, want);
}

CASE(reductions_of_a_warp) {
  const std::vector<int> in = small_numbers();
  std::vector<int> out(6 * 32), want;
  int sum = 0, any = 0, all = -1, parity = 0;
  for (const int v : in) sum += v, any |= 1 << v, all &= ~v, parity ^= v;
  const int lowest = *std::min_element(in.begin(), in.end());
  const int highest = *std::max_element(in.begin(), in.end());
  for (const int v : {sum, lowest, highest, any, all, parity}) want.insert(want.end(), 32, v);
  const auto config = launch_config(1, 32, nullptr);
  CHECK(cudaLaunchKernelEx(&config, reductions, in.data(), out.data()) == cudaSuccess);
  CHECK_EQUAL(out, want);
}
