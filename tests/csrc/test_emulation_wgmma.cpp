// The stand-in for the products of a warpgroup, against plain dense products.
#include "cuda/dynamic_shared.cuh"
#include "cuda/launch.cuh"
#include "cuda/swizzle.cuh"
#include "cuda/wgmma.cuh"
#include "harness.h"

namespace elite_ops::cuda {
namespace {

constexpr int kSize = 64;  // of the operands, both square: four products
constexpr int kVectors = 8;

template <typename scalar_t>
struct alignas(kSwizzleBytes) Tiles {
  scalar_t a[2][kSize * kSize];  // of each warpgroup
  scalar_t b[kSize * kSize];
};

// Warpgroup g: out[g] = 1 + a[g] * b, in groups of kGroupParts products.
template <typename scalar_t, int kGroupParts>
__global__ void multiply(const scalar_t* a, const scalar_t* b, float* out) {
  auto& tiles = *dynamic_shared<Tiles<scalar_t>>();
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  const int warpgroup = thread / kWarpgroupThreads, warp = thread % kWarpgroupThreads / 32;
  for (int e = thread; e < kSize * kVectors; e += static_cast<int>(blockDim.x)) {
    const int to = swizzled<kVectors>(e / kVectors, e % kVectors) * kVectors;
    for (int g = 0; g < 2; ++g) cp_async_16(&tiles.a[g][to], a + (g * kSize * kVectors + e) * 8);
    cp_async_16(&tiles.b[to], b + e * 8);
  }
  cp_async_commit();
  cp_async_wait<0>();
  fence_async_proxy();
  __syncthreads();

  float sums[8][4];
  for (auto& tile : sums) {
    for (float& sum : tile) sum = 1;
  }
  const uint64_t a_matrix = matrix_descriptor(tiles.a[warpgroup]);
  const uint64_t b_matrix = matrix_descriptor(tiles.b);
  wgmma_fence(sums);
  for (int part = 0; part < kSize / 16; ++part) {
    wgmma_m64n64k16<scalar_t>(sums, a_matrix + part * 2, b_matrix + part * 16 * kVectors);
    if ((part + 1) % kGroupParts == 0) wgmma_commit();
  }
  wgmma_wait<1>(sums);
  const bool under_way = sums[0][0] != sums[0][0];
  wgmma_wait<0>(sums);

  out += warpgroup * kSize * kSize;
  for (int tile = 0; tile < 8; ++tile) {
    for (int i = 0; i < 4; ++i) {
      const int row = warp * 16 + lane / 4 + i / 2 * 8, column = tile * 8 + lane % 4 * 2 + i % 2;
      out[row * kSize + column] = under_way ? sums[tile][i] : 0;
    }
  }
}

template <typename scalar_t>
void check_products() {
  harness::Random random(11);
  const auto a = random.uniform_vector<scalar_t>(2 * kSize * kSize);
  const auto b = random.uniform_vector<scalar_t>(kSize * kSize);
  std::vector<float> want(2 * kSize * kSize, 1.f);
  for (int row = 0; row < 2 * kSize; ++row) {
    for (int k = 0; k < kSize; ++k) {
      for (int column = 0; column < kSize; ++column) {
        want[row * kSize + column] +=
            static_cast<float>(a[row * kSize + k]) * static_cast<float>(b[k * kSize + column]);
      }
    }
  }
  for (const auto kernel : {multiply<scalar_t, 1>, multiply<scalar_t, 4>}) {
    constexpr size_t kBytes = kDynamicSharedBytes<Tiles<scalar_t>>;
    std::vector<float> out(want.size());
    const auto config = launch_config(1, 2 * kWarpgroupThreads, nullptr, kBytes);
    CHECK(cudaLaunchKernelEx(&config, kernel, a.data(), b.data(), out.data()) == cudaSuccess);
    CHECK_CLOSE(out, want, 1e-5);
  }
}

}  // namespace
}  // namespace elite_ops::cuda

using namespace elite_ops::cuda;

CASE(products_of_halves) { check_products<__half>(); }

CASE(products_of_bfloat16s) { check_products<__nv_bfloat16>(); }

// Bits 0-13 the address, 16-29 and 32-45 distances, all in 16 bytes; 62-63 the swizzle.
CASE(descriptors_have_the_bits_of_the_ptx_isa) {
  emulation::allocate_shared(4096);
  const uint64_t at_start = matrix_descriptor(emulation::shared);
  CHECK(at_start == (uint64_t{1} << 62 | uint64_t{64} << 32 | uint64_t{1} << 16 | 1));
  CHECK(matrix_descriptor(emulation::shared + 2048) == at_start + 128);
  emulation::free_shared();
}
