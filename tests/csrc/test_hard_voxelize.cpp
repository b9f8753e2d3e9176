// The CUDA kernels of hard_voxelize against the CPU op, which the Python tests compare with the
// definition; and rows of points in the slots of their voxels, and back.
#include "common/error_flag.h"
#include "cpu/hard_voxelize.h"
#include "cpu/voxel_slots.h"
#include "cuda/hard_voxelize.h"
#include "cuda/voxel_slots.h"
#include "harness.h"

using namespace elite_ops;

namespace {

struct Voxels {
  std::vector<int32_t> indices, counts, rows, slots;

  void resize(int64_t num_voxels) {
    indices.assign(num_voxels * 4, -7);
    counts.assign(num_voxels, -7);
  }
};

struct Input {
  std::vector<float> points;
  std::vector<int64_t> batch_index;
  cuda::HardVoxelizeArguments arguments{};

  // Points of which about a third are outside of a box from -1 to 1, in rows of 4 floats.
  Input(int64_t num_points, int64_t batch_size, std::vector<int32_t> shape, VoxelLimits limits,
        bool has_samples = true) {
    harness::Random random(num_points);
    points = random.uniform_vector<float>(num_points * 4, -1.2f, 1.2f);
    for (int64_t i = 0; i < num_points; ++i) batch_index.push_back(random.integer(batch_size));
    arguments.points = {points.data(), num_points, 4, has_samples ? batch_index.data() : nullptr};
    arguments.limits = limits;
    arguments.grid.batch_size = batch_size;
    for (int axis = 0; axis < 3; ++axis) {
      arguments.grid.minimum[axis] = -1;
      arguments.grid.voxel_size[axis] = 2 / static_cast<float>(shape[axis]);
      arguments.grid.shape[axis] = shape[axis];
    }
  }
};

Voxels on_cpu(const cuda::HardVoxelizeArguments& a) {
  Voxels v;
  v.rows.assign(a.points.num_points, -7);
  v.slots.assign(a.points.num_points, -7);
  cpu::hard_voxelize(a.points, a.grid, a.limits, {v.rows.data(), v.slots.data()},
                     [&](int64_t num_voxels) {
                       v.resize(num_voxels);
                       return cpu::VoxelRows{v.indices.data(), v.counts.data()};
                     });
  return v;
}

Voxels on_cuda(const cuda::HardVoxelizeArguments& a, int32_t* error_flag) {
  // What the kernels don't write themselves must not matter.
  std::vector<unsigned char> workspace(cuda::hard_voxelize_workspace_bytes(a), 0xCD);
  Voxels v;
  v.rows.assign(a.points.num_points, -7);
  v.slots.assign(a.points.num_points, -7);
  int64_t num_voxels = -7;
  CHECK(cuda::number_hard_voxels(a, workspace.data(), {v.rows.data(), v.slots.data()}, &num_voxels,
                                 error_flag, nullptr) == cudaSuccess);
  v.resize(num_voxels);
  CHECK(cuda::emit_hard_voxels(a, workspace.data(), {v.indices.data(), v.counts.data()}, nullptr) ==
        cudaSuccess);
  return v;
}

void check(const cuda::HardVoxelizeArguments& a) {
  int32_t error_flag = 0;
  const Voxels got = on_cuda(a, &error_flag), want = on_cpu(a);
  CHECK(error_flag == 0);
  CHECK_EQUAL(got.rows, want.rows);
  CHECK_EQUAL(got.slots, want.slots);
  CHECK_EQUAL(got.indices, want.indices);
  CHECK_EQUAL(got.counts, want.counts);
}

}  // namespace

CASE(sizes_and_limits) {
  for (int64_t num_points : {0, 1, 31, 257, 1500}) {
    for (int64_t max_points : {1, 3, 1000}) {
      for (int64_t max_voxels : {1, 20, 10'000}) {
        check(Input(num_points, 1, {7, 5, 3}, {max_points, max_voxels}, false).arguments);
        check(Input(num_points, 3, {7, 5, 3}, {max_points, max_voxels}).arguments);
      }
    }
  }
}

CASE(a_grid_whose_keys_need_64_bits) {
  check(Input(500, 2, {4096, 4096, 4096}, {5, 300}).arguments);
}

// The third is inside by a hair, which rounding takes away.
CASE(a_point_at_the_end_and_a_nan_have_no_voxel) {
  Input input(6, 1, {2, 2, 2}, {4, 4}, false);
  const float edge[] = {-1, 1, std::nextafter(1.f, 0.f), 0.9f, NAN, -INFINITY};
  for (int i = 0; i < 6; ++i) {
    for (int axis = 0; axis < 3; ++axis) input.points[i * 4 + axis] = axis == 0 ? edge[i] : -0.5f;
  }
  int32_t error_flag = 0;
  const Voxels v = on_cuda(input.arguments, &error_flag);
  CHECK_EQUAL(v.rows, (std::vector<int32_t>{0, -1, -1, 1, -1, -1}));
  CHECK_EQUAL(v.indices, (std::vector<int32_t>{0, 0, 0, 0, 0, 1, 0, 0}));
  check(input.arguments);
}

CASE(a_wrong_batch_index_is_left_out_and_reported) {
  Input input(300, 2, {7, 5, 3}, {4, 100});
  input.batch_index[7] = 2;
  input.batch_index[9] = -1;
  int32_t error_flag = 0;
  const Voxels v = on_cuda(input.arguments, &error_flag);
  CHECK(error_flag == kIndexOutOfRange);
  CHECK(v.rows[7] == -1 && v.rows[9] == -1);
}

namespace {

template <typename word_t>
void check_slots() {
  const Input input(400, 2, {7, 5, 3}, {3, 20});
  const Voxels v = on_cpu(input.arguments);
  constexpr int64_t kChannels = 5;
  const auto num_points = static_cast<int64_t>(v.rows.size());
  const auto num_voxels = static_cast<int64_t>(v.counts.size());
  const PointSlots slots{v.rows.data(), v.slots.data(), v.counts.data(), num_points, num_voxels, 3,
                         kChannels};
  std::vector<word_t> features;
  for (int64_t i = 0; i < num_points * kChannels; ++i) features.push_back(word_t(i + 1));

  std::vector<word_t> want(slots.num_elements(), 7), got(slots.num_elements(), 7);
  cpu::fill_slots(features.data(), slots, want.data());
  CHECK(cuda::fill_slots(features.data(), slots, got.data(), nullptr) == cudaSuccess);
  CHECK_EQUAL(got, want);

  std::vector<word_t> want_back(features.size(), 7), got_back(features.size(), 7);
  cpu::take_slots(want.data(), slots, want_back.data());
  CHECK(cuda::take_slots(got.data(), slots, got_back.data(), nullptr) == cudaSuccess);
  CHECK_EQUAL(got_back, want_back);
  for (int64_t i = 0; i < num_points * kChannels; ++i) {
    CHECK(got_back[i] == (v.slots[i / kChannels] >= 0 ? features[i] : word_t{0}));
  }
}

}  // namespace

CASE(slots_of_16_bits) { check_slots<uint16_t>(); }
CASE(slots_of_32_bits) { check_slots<uint32_t>(); }
CASE(slots_of_64_bits) { check_slots<uint64_t>(); }

// Voxels without points, as padded buffers have them, and points whose slots don't exist.
CASE(slots_of_padded_voxels) {
  const std::vector<int32_t> rows{0, 5, -1, 0, 1}, point_slots{0, 0, -1, 2, -1}, counts{1, 0, 0};
  const PointSlots slots{rows.data(), point_slots.data(), counts.data(), 5, 3, 2, 1};
  const std::vector<uint32_t> features{1, 2, 3, 4, 5}, want{1, 0, 0, 0, 0, 0};
  std::vector<uint32_t> on_cpu(6, 7), on_cuda(6, 7);
  cpu::fill_slots(features.data(), slots, on_cpu.data());
  CHECK(cuda::fill_slots(features.data(), slots, on_cuda.data(), nullptr) == cudaSuccess);
  CHECK_EQUAL(on_cpu, want);
  CHECK_EQUAL(on_cuda, want);
}
