// The stand-ins for tensor-core instructions and asynchronous copies: fragments that ldmatrix loads
// must multiply to the naive product.
#include "cuda/dynamic_shared.cuh"
#include "cuda/launch.cuh"
#include "cuda/mma.cuh"
#include "harness.h"

namespace elite_ops::cuda {
namespace {

constexpr int kM = 16, kN = 8, kK = 16;

__device__ void store_accumulator(const float (&acc)[4], float* out) {
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  for (int i = 0; i < 4; ++i) out[(g + 8 * (i / 2)) * kN + 2 * t + i % 2] = acc[i];
}

// out = 1 + a * b, a by columns. Of b, eight lanes more name each row, and must give the same
// fragment; out[128 + lane] says whether they did.
template <typename scalar_t>
__global__ void multiply_16_bit(const scalar_t* a, const scalar_t* b, float* out) {
  scalar_t* a_tile = dynamic_shared<scalar_t>();
  scalar_t* b_tile = a_tile + kM * kK;
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < kM * kK; i += 32) a_tile[i] = a[i];
  for (int i = lane; i < kK * kN; i += 32) b_tile[i] = b[i];
  __syncwarp();

  uint32_t a_fragment[4], twice[4];
  ldmatrix_x4_trans(a_fragment, &a_tile[(lane / 16 * 8 + lane % 8) * kM + lane / 8 % 2 * 8]);
  ldmatrix_x4_trans(twice, &b_tile[lane % 16 * kN]);
  out[kM * kN + lane] = twice[0] == twice[2] && twice[1] == twice[3];
  float acc[4] = {1, 1, 1, 1};
  mma_m16n8k16<scalar_t>(acc, a_fragment, {twice[0], twice[1]});
  store_accumulator(acc, out);
}

// out = a * b over k = 0..7, with the fragments loaded one by one.
__global__ void multiply_tf32(const float* a, const float* b, float* out) {
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  const uint32_t a_fragment[4] = {to_tf32(a[g * 8 + t]), to_tf32(a[(g + 8) * 8 + t]),
                                  to_tf32(a[g * 8 + t + 4]), to_tf32(a[(g + 8) * 8 + t + 4])};
  const uint32_t b_fragment[2] = {to_tf32(b[t * kN + g]), to_tf32(b[(t + 4) * kN + g])};
  float acc[4] = {};
  mma_m16n8k8(acc, a_fragment, b_fragment);
  store_accumulator(acc, out);
}

// The elements' numbers as each lane gets them.
__global__ void load_numbers(uint32_t* out) {
  auto* tile = dynamic_shared<uint16_t>();
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 256; i += 32) tile[i] = static_cast<uint16_t>(i);
  __syncwarp();
  uint32_t r[4];
  ldmatrix_x4_trans(r, &tile[lane * 8]);
  for (int i = 0; i < 4; ++i) out[lane * 4 + i] = r[i];
}

// Copies `n` floats through a pipeline of `kStages` tiles; what lies behind the end becomes zero.
template <int kStages>
__global__ void copy_through_pipeline(const float* in, int64_t n, int64_t tiles, float* out) {
  float* shared = dynamic_shared<float>();
  const int width = 4 * static_cast<int>(blockDim.x);
  const auto start = [&](int64_t tile) {
    if (tile < tiles) {
      const int64_t i = tile * width + 4 * threadIdx.x;
      float* to = shared + tile % kStages * width + 4 * threadIdx.x;
      if (i + 4 <= n) {
        cp_async_16(to, in + i);
      } else {
        for (int e = 0; e < 4; ++e) cp_async_4(to + e, in + (i + e < n ? i + e : 0), i + e < n);
      }
    }
    cp_async_commit();
  };
  for (int s = 0; s < kStages - 1; ++s) start(s);
  for (int64_t tile = 0; tile < tiles; ++tile) {
    cp_async_wait<kStages - 2>();
    __syncthreads();
    start(tile + kStages - 1);
    for (int i = static_cast<int>(threadIdx.x); i < width; i += static_cast<int>(blockDim.x)) {
      out[tile * width + width - 1 - i] = shared[tile % kStages * width + width - 1 - i];
    }
  }
}

template <typename scalar_t>
void check_product() {
  harness::Random random(7);
  const std::vector<scalar_t> a = random.uniform_vector<scalar_t>(kM * kK);
  const std::vector<scalar_t> b = random.uniform_vector<scalar_t>(kK * kN);
  std::vector<float> out(kM * kN + 32), want;
  for (int m = 0; m < kM; ++m) {
    for (int n = 0; n < kN; ++n) {
      float sum = 1;
      for (int k = 0; k < kK; ++k) {
        sum += static_cast<float>(a[k * kM + m]) * static_cast<float>(b[k * kN + n]);
      }
      want.push_back(sum);
    }
  }
  want.insert(want.end(), 32, 1.f);
  const auto config = launch_config(1, 32, nullptr, (kM * kK + kK * kN) * sizeof(scalar_t));
  CHECK(cudaLaunchKernelEx(&config, multiply_16_bit<scalar_t>, a.data(), b.data(), out.data()) ==
        cudaSuccess);
  CHECK_CLOSE(out, want, 1e-6);
}

}  // namespace
}  // namespace elite_ops::cuda

using namespace elite_ops::cuda;

CASE(products_of_halves) { check_product<__half>(); }

CASE(products_of_bfloat16s) { check_product<__nv_bfloat16>(); }

CASE(products_of_tf32) {
  harness::Random random(8);
  const std::vector<float> a = random.uniform_vector<float>(16 * 8);
  const std::vector<float> b = random.uniform_vector<float>(8 * 8);
  std::vector<float> out(16 * 8), want(16 * 8, 0.f);
  const auto rounded = [](float x) { return __uint_as_float(to_tf32(x)); };
  for (int i = 0; i < 16 * 8; ++i) {
    for (int k = 0; k < 8; ++k) want[i] += rounded(a[i / 8 * 8 + k]) * rounded(b[k * 8 + i % 8]);
  }
  const auto config = launch_config(1, 32, nullptr);
  CHECK(cudaLaunchKernelEx(&config, multiply_tf32, a.data(), b.data(), out.data()) == cudaSuccess);
  CHECK_CLOSE(out, want, 1e-6);
}

CASE(tf32_rounds_ties_away) {
  const auto rounded = [](uint32_t bits) { return to_tf32(__uint_as_float(bits)); };
  CHECK(rounded(0x3f800fff) == 0x3f800000 && rounded(0x3f801000) == 0x3f802000);
  CHECK(rounded(0xbf801000) == 0xbf802000 && rounded(0x3f802000) == 0x3f802000);
  CHECK(rounded(0x7f800000) == 0x7f800000);
}

CASE(ldmatrix_gives_each_lane_its_pairs) {
  std::vector<uint32_t> out(32 * 4);
  const auto config = launch_config(1, 32, nullptr, 512);
  CHECK(cudaLaunchKernelEx(&config, load_numbers, out.data()) == cudaSuccess);
  const auto pair = [](uint32_t low, uint32_t high) { return low | high << 16; };
  // Lane 13: rows 2 and 3, column 3. Matrices are 64 apart.
  for (uint32_t m = 0; m < 4; ++m) CHECK(out[13 * 4 + m] == pair(64 * m + 19, 64 * m + 27));
}

CASE(copies_arrive_in_order) {
  constexpr int kThreads = 64, kWidth = 4 * kThreads;
  for (const int64_t n : {int64_t{1}, int64_t{kWidth}, int64_t{5 * kWidth + 7}}) {
    const int64_t tiles = (n + kWidth - 1) / kWidth;
    harness::Random random(9);
    std::vector<float> in = random.uniform_vector<float>(n), want = in;
    want.resize(static_cast<size_t>(tiles * kWidth), 0.f);
    for (const auto kernel : {copy_through_pipeline<2>, copy_through_pipeline<4>}) {
      std::vector<float> out(want.size());
      const auto config = launch_config(1, kThreads, nullptr, 4 * kWidth * sizeof(float));
      CHECK(cudaLaunchKernelEx(&config, kernel, in.data(), n, tiles, out.data()) == cudaSuccess);
      CHECK_EQUAL(out, want);
    }
  }
}
