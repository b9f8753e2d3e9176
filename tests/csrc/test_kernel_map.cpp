// The CUDA kernels of build_kernel_map, and its CPU kernel, against a search of all pairs.
#include "common/error_flag.h"
#include "cpu/kernel_map.h"
#include "cuda/kernel_map.h"
#include "harness.h"

using namespace elite_ops;

namespace {

struct Input {
  std::vector<int32_t> indices;
  std::vector<int64_t> shape;
  int64_t batch_size;
  KernelGeometry kernel;

  int64_t num_voxels() const { return static_cast<int64_t>(indices.size()) / 4; }
  VoxelGrid grid() const { return make_grid(shape.data(), 1, batch_size, false); }
  VoxelSet voxels() const { return {indices.data(), num_voxels(), grid()}; }
};

// Unique voxels in random order, within the first `extent` cells of each axis.
Input random_input(int64_t num_voxels, std::vector<int64_t> shape, KernelGeometry kernel,
                   std::vector<int64_t> extent) {
  harness::Random random(num_voxels);
  constexpr int64_t kBatchSize = 2;
  std::vector<int64_t> cells(kBatchSize * extent[0] * extent[1] * extent[2]);
  for (size_t i = 0; i < cells.size(); ++i) cells[i] = static_cast<int64_t>(i);
  std::shuffle(cells.begin(), cells.end(), random.engine);
  Input input{{}, shape, kBatchSize, kernel};
  for (int64_t i = 0; i < num_voxels; ++i) {
    int64_t cell = cells[i], index[4];
    for (int axis = 2; axis >= 0; --axis) {
      index[axis + 1] = cell % extent[axis];
      cell /= extent[axis];
    }
    index[0] = cell;
    input.indices.insert(input.indices.end(), index, index + 4);
  }
  return input;
}

std::vector<int32_t> by_search(const Input& input) {
  const int64_t num_voxels = input.num_voxels();
  const KernelGeometry& kernel = input.kernel;
  std::vector<int32_t> neighbors(kernel.num_offsets() * num_voxels, -1);
  for (int64_t i = 0; i < num_voxels; ++i) {
    for (int64_t j = 0; j < num_voxels; ++j) {
      bool is_neighbor = input.indices[i * 4] == input.indices[j * 4];
      int64_t k = 0;
      for (int axis = 0; axis < 3; ++axis) {
        const int64_t first = kernel.first_input(axis, input.indices[i * 4 + axis + 1]);
        const int64_t step = input.indices[j * 4 + axis + 1] - first;
        is_neighbor &= step >= 0 && step <= kernel.reach(axis) && step % kernel.dilation[axis] == 0;
        k = k * kernel.size[axis] + step / kernel.dilation[axis];
      }
      if (is_neighbor) neighbors[k * num_voxels + i] = static_cast<int32_t>(j);
    }
  }
  return neighbors;
}

std::vector<int32_t> on_cuda(const Input& input, int32_t* error_flag) {
  const VoxelSet voxels = input.voxels();
  std::vector<unsigned char> workspace(cuda::kernel_map_workspace_bytes(voxels), 0xCD);
  std::vector<int32_t> neighbors(input.kernel.num_offsets() * input.num_voxels(), -7);
  CHECK(cuda::build_kernel_map(voxels, voxels, input.kernel, workspace.data(), neighbors.data(),
                               error_flag, nullptr) == cudaSuccess);
  return neighbors;
}

cpu::VoxelSetError on_cpu(const Input& input, std::vector<int32_t>& neighbors) {
  neighbors.assign(input.kernel.num_offsets() * input.num_voxels(), -7);
  return cpu::build_kernel_map(input.voxels(), input.kernel, input.num_voxels(), neighbors.data());
}

void check(const Input& input) {
  int32_t error_flag = 0;
  const std::vector<int32_t> want = by_search(input);
  CHECK_EQUAL(on_cuda(input, &error_flag), want);
  CHECK(error_flag == 0);
  std::vector<int32_t> neighbors;
  CHECK(on_cpu(input, neighbors).kind == cpu::VoxelSetError::kNone);
  CHECK_EQUAL(neighbors, want);
}

const KernelGeometry kKernels[] = {
    submanifold_geometry({1, 1, 1}, {1, 1, 1}), submanifold_geometry({3, 3, 3}, {1, 1, 1}),
    submanifold_geometry({3, 1, 3}, {2, 1, 3}), submanifold_geometry({1, 3, 5}, {1, 2, 1}),
    submanifold_geometry({5, 5, 1}, {1, 1, 1}), submanifold_geometry({7, 3, 3}, {1, 1, 2})};

}  // namespace

CASE(sizes_around_a_warp_and_a_block) {
  for (const KernelGeometry& kernel : kKernels) {
    for (const int64_t num_voxels : {0, 1, 31, 33, 257}) {
      check(random_input(num_voxels, {6, 5, 7}, kernel, {6, 5, 7}));
    }
  }
}

CASE(columns_of_one_or_more_words) {
  for (const int64_t height : {63, 64, 65, 130}) {
    check(random_input(200, {2, 3, height}, submanifold_geometry({3, 3, 5}, {1, 1, 1}),
                       {2, 3, height}));
  }
}

CASE(grids_too_large_for_a_bitmap) {
  for (const KernelGeometry& kernel : kKernels) {
    const Input input = random_input(200, {1 << 20, 1 << 20, 1 << 16}, kernel, {5, 5, 6});
    CHECK(!uses_bitmap(input.grid().num_words(), input.num_voxels()));
    check(input);
  }
}

// Displacements within a word, into the next one, and past several.
CASE(dilated_offsets_that_leave_their_word) {
  for (const int32_t dilation : {1, 40, 63, 64, 65}) {
    check(random_input(300, {2, 2, 320}, submanifold_geometry({1, 3, 5}, {1, 1, dilation}),
                       {2, 2, 320}));
  }
}

// Every block takes several parts of the voxels.
CASE(more_voxels_than_threads) {
  const Input input =
      random_input(140'000, {50, 50, 60}, submanifold_geometry({1, 1, 3}, {1, 1, 1}), {50, 50, 60});
  int32_t error_flag = 0;
  std::vector<int32_t> want;
  CHECK(on_cpu(input, want).kind == cpu::VoxelSetError::kNone);
  CHECK(on_cuda(input, &error_flag) == want);
  CHECK(error_flag == 0);
}

// docs/kernels.md states this number.
CASE(a_map_takes_five_calls) {
  const Input input =
      random_input(300, {9, 9, 60}, submanifold_geometry({3, 3, 3}, {1, 1, 1}), {9, 9, 60});
  int32_t error_flag = 0;
  const int64_t before = emulation::num_enqueued;
  on_cuda(input, &error_flag);
  CHECK(emulation::num_enqueued - before == 5);
}

CASE(the_two_ends_of_an_axis_do_not_meet) {
  Input input{{}, {3, 4, 64}, 2, submanifold_geometry({3, 3, 3}, {1, 1, 1})};
  for (const int32_t b : {0, 1}) {
    for (const int32_t x : {0, 2}) {
      for (const int32_t y : {0, 3}) {
        for (const int32_t z : {0, 63}) input.indices.insert(input.indices.end(), {b, x, y, z});
      }
    }
  }
  check(input);
}

CASE(voxels_outside_the_grid_are_reported_and_left_out) {
  for (const int64_t side : {8, 1 << 20}) {
    const auto large = static_cast<int32_t>(side);
    for (const std::vector<int32_t>& wrong : std::vector<std::vector<int32_t>>{
             {2, 0, 0, 0}, {-1, 0, 0, 0}, {0, large, 0, 0}, {0, 0, -1, 0}, {0, 0, 0, 8}}) {
      Input input =
          random_input(40, {side, side, 8}, submanifold_geometry({3, 3, 3}, {1, 1, 1}), {3, 3, 5});
      std::copy(wrong.begin(), wrong.end(), input.indices.begin() + 4 * 7);
      int32_t error_flag = 0;
      const std::vector<int32_t> got = on_cuda(input, &error_flag);
      CHECK(error_flag == kIndexOutOfRange);
      input.indices[4 * 7] = 100;  // a sample of its own
      std::vector<int32_t> want = by_search(input);
      want[13 * input.num_voxels() + 7] = -1;  // it is not even its own neighbour
      CHECK_EQUAL(got, want);
      std::vector<int32_t> neighbors;
      const cpu::VoxelSetError error = on_cpu(input, neighbors);
      CHECK(error.kind == cpu::VoxelSetError::kOutOfRange && error.row == 7);
    }
  }
}

CASE(equal_voxels_are_reported) {
  for (const int64_t side : {8, 1 << 20}) {
    Input input =
        random_input(300, {side, side, 8}, submanifold_geometry({3, 3, 3}, {1, 1, 1}), {6, 6, 8});
    std::copy_n(input.indices.begin() + 4 * 11, 4, input.indices.begin() + 4 * 270);
    int32_t error_flag = 0;
    on_cuda(input, &error_flag);
    CHECK(error_flag == kDuplicateIndices);
    std::vector<int32_t> neighbors;
    const cpu::VoxelSetError error = on_cpu(input, neighbors);
    CHECK(error.kind == cpu::VoxelSetError::kDuplicate && error.row == 11 &&
          error.other_row == 270);
  }
}
