// The CUDA kernel of voxel_to_point against its CPU kernel.
#include "cpu/voxel_to_point.h"
#include "cuda/accumulate.cuh"
#include "cuda/voxel_to_point.h"
#include "harness.h"
#include "large_array.h"
#include "segment_cases.h"

namespace {

template <typename scalar_t>
void check() {
  using accumulate = elite_ops::cuda::accumulate_t<scalar_t>;
  for (const SegmentCase& segments : segment_cases()) {
    for (int64_t channels : {0, 1, 3, 16, 70}) {
      harness::Random random(1);
      const int64_t points = segments.num_points(), voxels = segments.num_segments();
      const auto features = random.uniform_vector<scalar_t>(voxels * channels);
      std::vector<scalar_t> got(points * channels);
      CHECK(elite_ops::cuda::voxel_to_point(features.data(), segments.inverse.data(), points,
                                            voxels, channels, got.data(), nullptr) == cudaSuccess);
      const std::vector<accumulate> wide(features.begin(), features.end());
      std::vector<accumulate> want(got.size());
      elite_ops::cpu::voxel_to_point(wide.data(), segments.inverse.data(), points, voxels, channels,
                                     want.data());
      CHECK_EQUAL(std::vector<accumulate>(got.begin(), got.end()), want);
    }
  }
}

}  // namespace

CASE(equals_the_cpu_kernel_float) { check<float>(); }
CASE(equals_the_cpu_kernel_double) { check<double>(); }
CASE(equals_the_cpu_kernel_half) { check<__half>(); }
CASE(equals_the_cpu_kernel_bfloat16) { check<__nv_bfloat16>(); }

CASE(a_voxel_out_of_range_gives_0) {
  const std::vector<int32_t> inverse = {1, 2, -2, 2'000'000'000};
  const std::vector<float> features = {1, 2, 3, 4};
  const std::vector<float> want = {3, 4, 0, 0, 0, 0, 0, 0};
  std::vector<float> on_cuda(8, -1.f), on_cpu(8, -1.f);
  CHECK(elite_ops::cuda::voxel_to_point(features.data(), inverse.data(), 4, 2, 2, on_cuda.data(),
                                        nullptr) == cudaSuccess);
  CHECK_EQUAL(on_cuda, want);
  elite_ops::cpu::voxel_to_point(features.data(), inverse.data(), 4, 2, 2, on_cpu.data());
  CHECK_EQUAL(on_cpu, want);
}

// The last row begins 2^31 elements and more after the first.
CASE(offsets_past_32_bits) {
  constexpr int64_t kVoxels = 70'001, kChannels = 32'768;
  const std::vector<int32_t> inverse = {kVoxels - 1};
  LargeArray<float> features(kVoxels * kChannels);
  features.data()[(kVoxels - 1) * kChannels + 5] = 2;
  std::vector<float> on_cuda(kChannels), on_cpu(kChannels), want(kChannels);
  want[5] = 2;
  CHECK(elite_ops::cuda::voxel_to_point(features.data(), inverse.data(), 1, kVoxels, kChannels,
                                        on_cuda.data(), nullptr) == cudaSuccess);
  CHECK_EQUAL(on_cuda, want);
  elite_ops::cpu::voxel_to_point(features.data(), inverse.data(), 1, kVoxels, kChannels,
                                 on_cpu.data());
  CHECK_EQUAL(on_cpu, want);
}
