// The CUDA kernel of devoxelize against the CPU op, which the Python tests compare with the
// definition.
#include "common/error_flag.h"
#include "cpu/devoxelize.h"
#include "cuda/devoxelize.h"
#include "harness.h"

using namespace elite_ops;

namespace {

struct Corners {
  std::vector<int32_t> rows;
  std::vector<float> weights;

  explicit Corners(const Devoxelization& call)
      : rows(call.points.num_points * call.corners(), -7),
        weights(call.points.num_points * call.corners(), -7.f) {}
};

VoxelSet set_of(const std::vector<int32_t>& indices, const VoxelGrid& grid) {
  return {indices.data(), static_cast<int64_t>(indices.size()) / 4, grid};
}

Corners on_cpu(const Devoxelization& call, const std::vector<int32_t>& indices) {
  Corners corners(call);
  const cpu::VoxelIndex index(set_of(indices, call.grid), cpu::CellKeys(call.grid));
  CHECK(index.error.kind == cpu::VoxelSetError::kNone);
  cpu::devoxelize(call, index, corners.rows.data(), corners.weights.data());
  return corners;
}

Corners on_cuda(const Devoxelization& call, const std::vector<int32_t>& indices,
                int32_t* error_flag) {
  Corners corners(call);
  const VoxelSet voxels = set_of(indices, call.grid);
  std::vector<unsigned char> workspace(cuda::devoxelize_workspace_bytes(voxels));
  CHECK(cuda::devoxelize(call, voxels, workspace.data(), corners.rows.data(),
                         corners.weights.data(), error_flag, nullptr) == cudaSuccess);
  return corners;
}

// Each cell of every third column, say, in an order that is not theirs.
std::vector<int32_t> some_voxels(const VoxelGrid& grid, int64_t one_in) {
  harness::Random random(one_in);
  std::vector<int32_t> indices;
  for (int64_t batch = grid.batch_size - 1; batch >= 0; --batch) {
    for (int32_t x = 0; x < grid.shape[0]; ++x) {
      for (int32_t y = 0; y < grid.shape[1]; ++y) {
        for (int32_t z = grid.shape[2] - 1; z >= 0; --z) {
          if (random.integer(one_in) != 0) continue;
          indices.insert(indices.end(), {static_cast<int32_t>(batch), x, y, z});
        }
      }
    }
  }
  return indices;
}

struct Cloud {
  std::vector<float> xyz;
  std::vector<int64_t> batch_index;

  Cloud(int64_t num_points, int64_t batch_size) {
    harness::Random random(num_points);
    xyz = random.uniform_vector<float>(num_points * 4, -1.2f, 1.2f);
    for (int64_t i = 0; i < num_points; ++i) batch_index.push_back(random.integer(batch_size));
  }
  PointRows rows() const {
    return {xyz.data(), static_cast<int64_t>(batch_index.size()), 4, batch_index.data()};
  }
};

Devoxelization call_of(const Cloud& cloud, std::vector<int64_t> shape, bool nearest) {
  const VoxelGrid grid = make_grid(shape.data(), 1, 2, false);
  return {cloud.rows(), {{-1, -1, -1}, {1, 1, 1}, {2, 2, 2}}, grid, nearest};
}

void check(const Devoxelization& call, const std::vector<int32_t>& indices) {
  const Corners want = on_cpu(call, indices);
  int32_t error_flag = 0;
  const Corners got = on_cuda(call, indices, &error_flag);
  CHECK_EQUAL(got.rows, want.rows);
  CHECK_EQUAL(got.weights, want.weights);
  CHECK(error_flag == 0);
}

}  // namespace

CASE(grids_and_points) {
  for (const bool nearest : {false, true}) {
    for (const int64_t num_points : {0, 1, 300, 700}) {
      const Cloud cloud(num_points, 2);
      for (const int64_t one_in : {1, 3, 40}) {
        const Devoxelization call = call_of(cloud, {7, 5, 70}, nearest);
        check(call, some_voxels(call.grid, one_in));
      }
      check(call_of(cloud, {7, 5, 70}, nearest), {});
      check(call_of(cloud, {1, 1, 1}, nearest), {0, 0, 0, 0});
    }
  }
}

// Few voxels in a grid that is too large for a bitmap.
CASE(sorted_keys) {
  const Cloud cloud(400, 2);
  for (const bool nearest : {false, true}) {
    const Devoxelization call = call_of(cloud, {20'000, 20'000, 64}, nearest);
    CHECK(!uses_bitmap(call.grid.num_words(), 400));
    // The cells around the first points.
    std::vector<int32_t> indices;
    for (int64_t i = 0; i < 50; ++i) {
      const float* p = cloud.rows().at(i);
      if (!call.range.contains(p)) continue;
      indices.push_back(static_cast<int32_t>(cloud.batch_index[i]));
      for (int axis = 0; axis < 3; ++axis) indices.push_back(call.grid.cell(call.range, p, axis));
    }
    const Corners corners = on_cpu(call, indices);
    CHECK(*std::max_element(corners.rows.begin(), corners.rows.end()) >= 0);
    check(call, indices);
  }
}

CASE(bad_input_is_reported) {
  Cloud cloud(3, 2);
  cloud.batch_index[1] = 2;
  const Devoxelization call = call_of(cloud, {2, 2, 2}, false);
  int32_t error_flag = 0;
  const Corners corners = on_cuda(call, some_voxels(call.grid, 1), &error_flag);
  CHECK(error_flag == kIndexOutOfRange);
  CHECK(std::all_of(corners.rows.begin() + 8, corners.rows.begin() + 16,
                    [](int32_t row) { return row == -1; }));
  cloud.batch_index[1] = 0;
  error_flag = 0;
  on_cuda(call, {0, 0, 2, 0}, &error_flag);
  CHECK(error_flag == kIndexOutOfRange);
  error_flag = 0;
  on_cuda(call, {0, 0, 1, 0, 0, 0, 1, 0}, &error_flag);
  CHECK(error_flag == kDuplicateIndices);
}
