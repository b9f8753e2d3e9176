// The CUDA kernels of voxelize against the CPU op, which the Python tests compare with the
// definition.
#include <limits>
#include <optional>

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

const KernelGeometry kKernel = submanifold_geometry({3, 3, 3}, {1, 1, 1});

struct Input {
  std::vector<float> points;
  std::vector<int64_t> batch_index;
  cuda::VoxelizeArguments arguments{};

  // Points of which about a third are outside [-1, 1)^3, in rows of 4 floats.
  Input(int64_t num_points, int64_t batch_size, std::vector<int64_t> shape,
        std::vector<int64_t> scales, bool nested = false, float spread = 1.2f) {
    const auto add = [&](const VoxelGrid& grid, int of) {
      arguments.grids[arguments.num_grids++] = {grid, of, std::numeric_limits<int64_t>::max()};
    };
    harness::Random random(num_points);
    points = random.uniform_vector<float>(num_points * 4, -spread, spread);
    for (int64_t i = 0; i < num_points; ++i) batch_index.push_back(random.integer(batch_size));
    arguments.range = {{-1, -1, -1}, {1, 1, 1}, {2, 2, 2}};
    for (const int64_t scale : scales) {
      add(make_grid(shape.data(), scale, batch_size, nested), cuda::kOfPoints);
    }
    // The last scale first, and not the first: what a halved grid halves has another number.
    for (int s = static_cast<int>(scales.size()) - 1; s > 0; --s) {
      add(halved(arguments.grids[s].grid), s);
    }
    point_at();
  }

  void point_at() {
    const auto n = static_cast<int64_t>(batch_index.size());
    arguments.points = {points.data(), n, 4, batch_index.data()};
  }
};

// Takes the first `num_voxels` rows, and checks that nobody wrote to the others, `counts` excepted;
// in `inverse` they have no cell.
void shrink(Voxels& v, int64_t num_voxels, int64_t num_inverse) {
  const auto cut = [](std::vector<int32_t>& values, int64_t size, int32_t rest) {
    CHECK_EQUAL(std::vector<int32_t>(values.begin() + size, values.end()),
                std::vector<int32_t>(values.size() - size, rest));
    values.resize(size);
  };
  const auto capacity = static_cast<int64_t>(v.counts.size());
  const auto offsets = v.neighbors.empty() ? 0 : kKernel.num_offsets();
  std::vector<int32_t> neighbors;
  for (int64_t k = 0; k < offsets; ++k) {
    const auto begin = v.neighbors.begin() + k * capacity;
    std::vector<int32_t> column(begin, begin + capacity);
    cut(column, num_voxels, -7);
    neighbors.insert(neighbors.end(), column.begin(), column.end());
  }
  v.neighbors = neighbors;
  cut(v.indices, num_voxels * 4, -7);
  v.counts.resize(num_voxels);
  cut(v.inverse, num_inverse, -1);
}

std::vector<Voxels> on_cpu(const cuda::VoxelizeArguments& a) {
  std::vector<Voxels> all(a.num_grids);
  for (int g = 0; g < a.num_grids; ++g) {
    Voxels& v = all[g];
    const auto& [grid, of, _] = a.grids[g];
    const auto allocate = [&](int64_t size) {
      v.indices.resize(size * 4);
      v.counts.resize(size);
      return cpu::VoxelRows{v.indices.data(), v.counts.data()};
    };
    if (of != cuda::kOfPoints) {
      v.inverse.resize(all[of].counts.size());
      cpu::halve_voxels(all[of].indices.data(), static_cast<int64_t>(v.inverse.size()), grid,
                        v.inverse.data(), allocate);
      continue;
    }
    v.inverse.resize(a.points.num_points);
    cpu::voxelize(a.points, a.range, grid, v.inverse.data(), allocate);
    const auto size = static_cast<int64_t>(v.counts.size());
    v.neighbors.resize(kKernel.num_offsets() * size);
    cpu::build_kernel_map({v.indices.data(), size, grid}, kKernel, size, v.neighbors.data());
  }
  return all;
}

// Into buffers of exact size, or of `capacity` rows, whose rows past the number of voxels must keep
// what was in them.
std::vector<Voxels> on_cuda(cuda::VoxelizeArguments a, int32_t* error_flag,
                            std::optional<int64_t> capacity = std::nullopt) {
  // What the kernels don't write themselves must not matter.
  std::vector<unsigned char> workspace(cuda::voxelize_workspace_bytes(a), 0xCD);
  std::vector<int64_t> sizes(a.num_grids, -7);
  for (int g = 0; capacity && g < a.num_grids; ++g) a.grids[g].capacity = *capacity;
  CHECK(cuda::count_voxels(a, workspace.data(), sizes.data(), error_flag, nullptr) == cudaSuccess);
  std::vector<Voxels> all(a.num_grids);
  std::vector<cuda::VoxelRows> rows;
  std::vector<int32_t*> neighbors;
  for (int g = 0; g < a.num_grids; ++g) {
    const int64_t size = capacity.value_or(sizes[g]);
    a.grids[g].capacity = size;
    Voxels& v = all[g];
    v.indices.assign(size * 4, -7);
    const int of = a.grids[g].of;
    v.inverse.assign(of < 0 ? a.points.num_points : a.grids[of].capacity, -7);
    v.counts.assign(size, -7);
    if (of < 0) v.neighbors.assign(kKernel.num_offsets() * size, -7);
    neighbors.push_back(v.neighbors.data());
    rows.push_back({v.indices.data(), v.inverse.data(), v.counts.data()});
  }
  CHECK(cuda::emit_voxels(a, workspace.data(), rows.data(), sizes.data(), nullptr) == cudaSuccess);
  CHECK(cuda::find_voxel_neighbors(a, workspace.data(), rows.data(), sizes.data(), kKernel,
                                   neighbors.data(), nullptr) == cudaSuccess);
  for (int g = 0; capacity && g < a.num_grids; ++g) {
    const int of = a.grids[g].of;
    shrink(all[g], sizes[g], of < 0 ? a.points.num_points : sizes[of]);
  }
  return all;
}

void check_equal_voxels(const std::vector<Voxels>& got, const std::vector<Voxels>& want) {
  CHECK(got.size() == want.size());
  for (size_t g = 0; g < got.size(); ++g) {
    CHECK_EQUAL(got[g].indices, want[g].indices);
    CHECK_EQUAL(got[g].inverse, want[g].inverse);
    CHECK_EQUAL(got[g].counts, want[g].counts);
    CHECK_EQUAL(got[g].neighbors, want[g].neighbors);
  }
}

void check_like_cpu(const Input& input) {
  int32_t error_flag = 0;
  const std::vector<Voxels> want = on_cpu(input.arguments);
  check_equal_voxels(on_cuda(input.arguments, &error_flag), want);
  const int64_t num_points = input.arguments.points.num_points;
  check_equal_voxels(on_cuda(input.arguments, &error_flag, num_points + 40), want);
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
  CHECK(!uses_bitmap(input.arguments.grids[0].grid.num_words(), 400));
  CHECK(uses_bitmap(input.arguments.grids[1].grid.num_words(), 400));
  check_like_cpu(input);
  check_like_cpu(Input(400, 2, {2048, 1024, 70}, {1}));
}

CASE(halved_grids_that_are_sorted) {
  const Input input(400, 2, {8192, 8192, 8}, {1, 2, 3});
  const auto& a = input.arguments;
  for (int g = 0; g < a.num_grids; ++g) CHECK(!uses_bitmap(a.grids[g].grid.num_words(), 400));
  CHECK(a.num_grids == 5);
  check_like_cpu(input);
}

// docs/kernels.md states this number.
CASE(five_scales_halved_grids_and_kernel_maps_in_eight_calls) {
  const Input input(400, 2, {40, 40, 30}, {1, 2, 4, 8, 16});
  int32_t error_flag = 0;
  const int64_t before = emulation::num_enqueued;
  on_cuda(input.arguments, &error_flag);
  CHECK(emulation::num_enqueued - before == 8);
}

// What does not fit is left out and reported, in the bitmap and in a sorted grid, and nothing is
// written past the end of a buffer.
CASE(more_voxels_than_the_capacity) {
  for (const int64_t side : {8, 4096}) {
    const Input input(300, 2, {side, side, 8}, {1, 2});
    constexpr int64_t kCapacity = 40;
    int32_t error_flag = 0;
    const std::vector<Voxels> got = on_cuda(input.arguments, &error_flag, kCapacity);
    CHECK(error_flag == kCapacityExceeded);
    const std::vector<Voxels> want = on_cpu(input.arguments);
    for (size_t g = 0; g < 2; ++g) {
      CHECK(want[g].counts.size() > kCapacity);
      CHECK_EQUAL(got[g].counts,
                  std::vector<int32_t>(want[g].counts.begin(), want[g].counts.begin() + kCapacity));
      for (size_t i = 0; i < got[g].inverse.size(); ++i) {
        const int32_t row = want[g].inverse[i];
        CHECK(got[g].inverse[i] == (row < kCapacity ? row : -1));
      }
      for (const int32_t row : got[g].neighbors) CHECK(row >= -1 && row < kCapacity);
    }
  }
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
