// The CUDA kernels of voxelize against the CPU op, which the Python tests compare with the
// definition.
#include "common/error_flag.h"
#include "cpu/kernel_map.h"
#include "cpu/voxelize.h"
#include "cuda/voxelize.h"
#include "harness.h"

using namespace elite_ops;

namespace {

struct Voxels {
  std::vector<int32_t> indices, inverse, counts, neighbors;
};

constexpr KernelShape kKernel{{3, 3, 3}, {1, 1, 1}};

struct Input {
  std::vector<float> points;
  std::vector<int64_t> batch_index;
  cuda::VoxelizeArguments arguments{};

  // Points of which about a third are outside [-1, 1)^3, in rows of 4 floats.
  Input(int64_t num_points, int64_t batch_size, std::vector<int64_t> shape,
        std::vector<int64_t> scales, bool nested = false, float spread = 1.2f) {
    harness::Random random(num_points);
    points = random.uniform_vector<float>(num_points * 4, -spread, spread);
    for (int64_t i = 0; i < num_points; ++i) batch_index.push_back(random.integer(batch_size));
    arguments.range = {{-1, -1, -1}, {1, 1, 1}, {2, 2, 2}};
    arguments.num_scales = static_cast<int>(scales.size());
    for (size_t s = 0; s < scales.size(); ++s) {
      arguments.grids[s] = make_grid(shape.data(), scales[s], batch_size, nested);
    }
    point_at();
  }

  void point_at() {
    const auto n = static_cast<int64_t>(batch_index.size());
    arguments.points = {points.data(), n, 4, batch_index.data()};
  }
};

std::vector<Voxels> on_cpu(const cuda::VoxelizeArguments& a) {
  std::vector<Voxels> all(a.num_scales);
  for (int s = 0; s < a.num_scales; ++s) {
    Voxels& v = all[s];
    v.inverse.resize(a.points.num_points);
    cpu::voxelize(a.points, a.range, a.grids[s], v.inverse.data(), [&](int64_t size) {
      v.indices.resize(size * 4);
      v.counts.resize(size);
      return cpu::VoxelRows{v.indices.data(), v.counts.data()};
    });
    const VoxelGrid& grid = a.grids[s];
    const auto size = static_cast<int64_t>(v.counts.size());
    v.neighbors.resize(kKernel.num_offsets() * size);
    cpu::build_kernel_map(
        {v.indices.data(), size, grid.batch_size, {grid.shape[0], grid.shape[1], grid.shape[2]}},
        kKernel, v.neighbors.data());
  }
  return all;
}

std::vector<Voxels> on_cuda(const cuda::VoxelizeArguments& a, int32_t* error_flag) {
  // What the kernels don't write themselves must not matter.
  std::vector<unsigned char> workspace(cuda::voxelize_workspace_bytes(a), 0xCD);
  std::vector<int64_t> sizes(a.num_scales, -7);
  CHECK(cuda::count_voxels(a, workspace.data(), sizes.data(), error_flag, nullptr) == cudaSuccess);
  std::vector<Voxels> all(a.num_scales);
  std::vector<cuda::VoxelRows> rows;
  std::vector<int32_t*> neighbors;
  for (int s = 0; s < a.num_scales; ++s) {
    Voxels& v = all[s];
    v.indices.assign(sizes[s] * 4, -7);
    v.inverse.assign(a.points.num_points, -7);
    v.counts.assign(sizes[s], -7);
    v.neighbors.assign(kKernel.num_offsets() * sizes[s], -7);
    neighbors.push_back(v.neighbors.data());
    rows.push_back({v.indices.data(), v.inverse.data(), v.counts.data()});
  }
  CHECK(cuda::emit_voxels(a, workspace.data(), rows.data(), sizes.data(), nullptr) == cudaSuccess);
  CHECK(cuda::find_voxel_neighbors(a, workspace.data(), rows.data(), sizes.data(), kKernel,
                                   neighbors.data(), nullptr) == cudaSuccess);
  return all;
}

void check_equal_voxels(const std::vector<Voxels>& got, const std::vector<Voxels>& want) {
  CHECK(got.size() == want.size());
  for (size_t s = 0; s < got.size(); ++s) {
    CHECK_EQUAL(got[s].indices, want[s].indices);
    CHECK_EQUAL(got[s].inverse, want[s].inverse);
    CHECK_EQUAL(got[s].counts, want[s].counts);
    CHECK_EQUAL(got[s].neighbors, want[s].neighbors);
  }
}

void check_like_cpu(const Input& input) {
  int32_t error_flag = 0;
  check_equal_voxels(on_cuda(input.arguments, &error_flag), on_cpu(input.arguments));
  CHECK(error_flag == 0);
}

}  // namespace

CASE(sizes_around_a_warp_and_a_block) {
  for (const int64_t num_points : {0, 1, 31, 33, 257, 1023}) {
    check_like_cpu(Input(num_points, 2, {20, 15, 12}, {1, 2, 5}));
  }
}

CASE(nested_scales) { check_like_cpu(Input(500, 3, {21, 15, 13}, {1, 2, 4, 8}, true)); }

CASE(columns_of_one_or_more_words) {
  for (const int64_t height : {1, 63, 64, 65, 200}) {
    check_like_cpu(Input(700, 1, {5, 4, height}, {1, 3}));
  }
}

CASE(all_points_in_one_voxel) { check_like_cpu(Input(300, 1, {1, 1, 1}, {1})); }

CASE(all_points_outside) {
  Input input(300, 1, {4, 4, 4}, {1, 2});
  for (float& p : input.points) p += 5;
  check_like_cpu(input);
}

CASE(a_sample_without_points) {
  Input input(300, 3, {6, 6, 6}, {1});
  for (int64_t& b : input.batch_index) b = b == 1 ? 2 : b;
  check_like_cpu(input);
}

CASE(without_a_batch_index) {
  Input input(300, 1, {6, 6, 6}, {1, 2});
  input.arguments.points.batch_index = nullptr;
  check_like_cpu(input);
}

// Few points in a grid of 2^22 and more columns are sorted; a coarse scale beside them is not.
CASE(sorted_and_bitmap_scales_together) {
  Input input(400, 2, {2048, 1024, 70}, {1, 64, 2, 100});
  CHECK(!uses_bitmap(input.arguments.grids[0].num_words(), 400));
  CHECK(uses_bitmap(input.arguments.grids[1].num_words(), 400));
  check_like_cpu(input);
  check_like_cpu(Input(400, 2, {2048, 1024, 70}, {1}));
}

// docs/kernels.md states this number.
CASE(five_scales_and_their_kernel_maps_in_seven_calls) {
  const Input input(400, 2, {40, 40, 30}, {1, 2, 4, 8, 16});
  int32_t error_flag = 0;
  const int64_t before = emulation::num_enqueued;
  on_cuda(input.arguments, &error_flag);
  CHECK(emulation::num_enqueued - before == 7);
}

CASE(sorted_points_that_share_voxels) {
  Input input(600, 1, {1 << 14, 1 << 14, 1 << 14}, {1}, false, 1.2f);
  for (float& p : input.points) p = std::round(p * 3) / 3;
  check_like_cpu(input);
}

CASE(samples_outside_the_batch_are_reported_and_left_out) {
  for (const int64_t side : {8, 4096}) {
    Input input(300, 2, {side, side, 8}, {1});
    input.batch_index[7] = 2;
    input.batch_index[250] = -1;
    int32_t error_flag = 0;
    const std::vector<Voxels> got = on_cuda(input.arguments, &error_flag);
    CHECK(error_flag == kIndexOutOfRange);
    for (const int64_t i : {7, 250}) {
      input.batch_index[i] = 0;
      input.points[i * 4] = 5;  // as if outside the range
    }
    check_equal_voxels(got, on_cpu(input.arguments));
  }
}

CASE(keys_of_large_grids_keep_their_bits) {
  const int64_t fine[] = {1 << 24, 1 << 24, 1 << 10};
  const VoxelGrid grid = make_grid(fine, 1, 4, false);
  int32_t index[4];
  grid.unpack(grid.key(3, (1 << 24) - 1, (1 << 24) - 2, 1023), index);
  CHECK_EQUAL(std::vector<int32_t>(index, index + 4),
              (std::vector<int32_t>{3, (1 << 24) - 1, (1 << 24) - 2, 1023}));
}
