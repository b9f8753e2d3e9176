// The CUDA kernels of output_voxels, of maps between two sets, and of swapped maps, against the
// CPU's, which the Python tests compare with their definition.
#include "common/error_flag.h"
#include "cpu/kernel_map.h"
#include "cpu/output_voxels.h"
#include "cuda/kernel_map.h"
#include "cuda/output_voxels.h"
#include "harness.h"

using namespace elite_ops;

namespace {

struct Input {
  std::vector<int32_t> indices;  // unique, in random order
  VoxelGrid grid, outputs;
  KernelGeometry kernel;
  bool transposed;

  VoxelSet voxels() const {
    return {indices.data(), static_cast<int64_t>(indices.size()) / 4, grid};
  }
};

VoxelGrid grid_of(std::vector<int64_t> shape) { return make_grid(shape.data(), 1, 2, false); }

// Voxels within the first 6 x 5 x `height` cells of a grid whose cells are those and more.
Input random_input(int64_t num_voxels, int64_t height, int64_t side, KernelGeometry kernel,
                   bool transposed) {
  harness::Random random(num_voxels);
  std::vector<int64_t> cells(2 * 6 * 5 * height);
  for (size_t i = 0; i < cells.size(); ++i) cells[i] = static_cast<int64_t>(i);
  std::shuffle(cells.begin(), cells.end(), random.engine);
  Input input{{}, grid_of({side, side, height}), {}, kernel, transposed};
  for (int64_t i = 0; i < num_voxels; ++i) {
    const int64_t cell = cells[i], x = cell / height / 5;
    for (const int64_t index : {x / 6, x % 6, cell / height % 5, cell % height}) {
      input.indices.push_back(static_cast<int32_t>(index));
    }
  }
  std::vector<int64_t> shape;
  for (int axis = 0; axis < 3; ++axis) {
    const int64_t size = input.grid.shape[axis], stride = kernel.stride[axis];
    const int64_t reach = kernel.reach(axis), padding = kernel.padding[axis];
    shape.push_back(transposed ? (size - 1) * stride - 2 * padding + reach + 1
                               : (size + 2 * padding - reach - 1) / stride + 1);
  }
  input.outputs = grid_of(shape);
  return input;
}

struct Result {
  std::vector<int32_t> indices, in_rows, swapped;
  bool operator==(const Result&) const = default;
};

// The map leads from the finer grid to the coarser one.
VoxelSet outputs_of(const Input& input, const std::vector<int32_t>& indices) {
  return {indices.data(), static_cast<int64_t>(indices.size()) / 4, input.outputs};
}

Result on_cpu(const Input& input) {
  Result result;
  const cpu::VoxelIndex index(input.voxels(), cpu::CellKeys(input.grid));
  std::vector<int32_t> pairs;
  cpu::output_voxels(input.voxels(), index, input.kernel, input.transposed, input.outputs,
                     [&](int64_t num_outputs) {
                       result.indices.resize(num_outputs * 4);
                       pairs.assign(input.kernel.num_offsets() * num_outputs, -7);
                       return cpu::OutputVoxels{result.indices.data(), pairs.data()};
                     });
  VoxelSet from = input.voxels(), to = outputs_of(input, result.indices);
  if (input.transposed) std::swap(from, to);
  result.in_rows.assign(input.kernel.num_offsets() * to.num_voxels, -7);
  cpu::connect_voxels(from, {from, cpu::CellKeys(from.grid)}, to, {to, cpu::CellKeys(to.grid)},
                      input.kernel, result.in_rows.data());
  result.swapped.assign(input.kernel.num_offsets() * from.num_voxels, -7);
  CHECK(cpu::swap_kernel_map(result.in_rows.data(), input.kernel.num_offsets(), to.num_voxels,
                             from.num_voxels, result.swapped.data()));
  CHECK_EQUAL(pairs, input.transposed ? result.swapped : result.in_rows);
  return result;
}

Result on_cuda(const Input& input, int32_t* error_flag) {
  Result result;
  const cuda::OutputVoxelsArguments a{input.voxels(), input.kernel, input.transposed,
                                      input.outputs};
  std::vector<unsigned char> workspace(cuda::output_voxels_workspace_bytes(a), 0xCD);
  int64_t num_outputs = -7;
  CHECK(cuda::count_output_voxels(a, workspace.data(), &num_outputs, error_flag, nullptr) ==
        cudaSuccess);
  result.indices.assign(num_outputs * 4, -7);
  CHECK(cuda::emit_output_voxels(a, workspace.data(), num_outputs, result.indices.data(),
                                 nullptr) == cudaSuccess);
  VoxelSet from = input.voxels(), to = outputs_of(input, result.indices);
  if (input.transposed) std::swap(from, to);
  result.in_rows.assign(input.kernel.num_offsets() * to.num_voxels, -7);
  workspace.assign(cuda::kernel_map_workspace_bytes(from), 0xCD);
  CHECK(cuda::build_kernel_map(from, to, input.kernel, workspace.data(), result.in_rows.data(),
                               error_flag, nullptr) == cudaSuccess);
  result.swapped.assign(input.kernel.num_offsets() * from.num_voxels, -7);
  CHECK(cuda::swap_kernel_map(result.in_rows.data(), input.kernel.num_offsets(), to.num_voxels,
                              from.num_voxels, result.swapped.data(), error_flag,
                              nullptr) == cudaSuccess);
  return result;
}

void check(const Input& input) {
  int32_t error_flag = 0;
  const Result got = on_cuda(input, &error_flag), want = on_cpu(input);
  CHECK_EQUAL(got.indices, want.indices);
  CHECK_EQUAL(got.in_rows, want.in_rows);
  CHECK_EQUAL(got.swapped, want.swapped);
  CHECK(error_flag == 0);
}

const KernelGeometry kGeometries[] = {{{3, 3, 3}, {2, 2, 2}, {1, 1, 1}, {1, 1, 1}},
                                      {{2, 2, 2}, {2, 2, 2}, {0, 0, 0}, {1, 1, 1}},
                                      {{3, 1, 2}, {2, 1, 3}, {1, 0, 2}, {1, 1, 2}},
                                      {{1, 1, 1}, {3, 3, 3}, {0, 0, 0}, {1, 1, 1}},
                                      {{4, 5, 7}, {1, 2, 4}, {2, 2, 3}, {1, 1, 1}}};

}  // namespace

CASE(sizes_around_a_warp_and_a_block) {
  for (const KernelGeometry& kernel : kGeometries) {
    for (const int64_t num_voxels : {0, 1, 31, 33, 257}) {
      for (const bool transposed : {false, true}) {
        check(random_input(num_voxels, 9, 9, kernel, transposed));
      }
    }
  }
}

CASE(columns_of_one_or_more_words) {
  for (const int64_t height : {63, 64, 65, 130}) {
    for (const bool transposed : {false, true}) {
      check(random_input(200, height, 7, kGeometries[0], transposed));
    }
  }
}

CASE(grids_too_large_for_a_bitmap) {
  for (const KernelGeometry& kernel : kGeometries) {
    const Input input = random_input(200, 40, 1 << 20, kernel, false);
    CHECK(!uses_bitmap(input.outputs.num_words(), 200));
    check(input);
  }
}

// docs/kernels.md states these numbers.
CASE(cells_take_five_calls_their_map_six_and_its_swap_two) {
  int32_t error_flag = 0;
  const int64_t before = emulation::num_enqueued;
  on_cuda(random_input(300, 9, 9, kGeometries[0], false), &error_flag);
  CHECK(emulation::num_enqueued - before == 5 + 6 + 2);
}

CASE(equal_voxels_count_as_one) {
  Input input = random_input(100, 9, 9, kGeometries[0], false);
  const std::vector<int32_t> want = on_cpu(input).indices;
  input.indices.insert(input.indices.end(), input.indices.begin(), input.indices.begin() + 40);
  const cuda::OutputVoxelsArguments a{input.voxels(), input.kernel, false, input.outputs};
  std::vector<unsigned char> workspace(cuda::output_voxels_workspace_bytes(a), 0xCD);
  int64_t num_outputs = 0;
  int32_t error_flag = 0;
  CHECK(cuda::count_output_voxels(a, workspace.data(), &num_outputs, &error_flag, nullptr) ==
        cudaSuccess);
  CHECK(num_outputs * 4 == static_cast<int64_t>(want.size()) && error_flag == 0);
}

CASE(voxels_outside_the_grid_are_reported_and_left_out) {
  for (const int64_t side : {9, 1 << 20}) {
    Input input = random_input(40, 9, side, kGeometries[0], false);
    input.indices[4 * 7 + 3] = 9;
    int32_t error_flag = 0;
    on_cuda(input, &error_flag);
    CHECK(error_flag == kIndexOutOfRange);
    const cpu::VoxelIndex index(input.voxels(), cpu::CellKeys(input.grid));
    CHECK(index.error.kind == cpu::VoxelSetError::kOutOfRange && index.error.row == 7);
  }
}

CASE(rows_out_of_range_are_reported_and_left_out) {
  const std::vector<int32_t> rows{0, 5, -1, -2};
  std::vector<int32_t> swapped(5, -7);
  int32_t error_flag = 0;
  CHECK(cuda::swap_kernel_map(rows.data(), 1, 4, 5, swapped.data(), &error_flag, nullptr) ==
        cudaSuccess);
  CHECK_EQUAL(swapped, (std::vector<int32_t>{0, -1, -1, -1, -1}));
  CHECK(error_flag == kIndexOutOfRange);
  CHECK(!cpu::swap_kernel_map(rows.data(), 1, 4, 5, swapped.data()));
}

CASE(equal_rows_are_reported) {
  const std::vector<int32_t> rows{2, 0, 2};
  std::vector<int32_t> swapped(3, -7);
  int32_t error_flag = 0;
  CHECK(cuda::swap_kernel_map(rows.data(), 1, 3, 3, swapped.data(), &error_flag, nullptr) ==
        cudaSuccess);
  CHECK(error_flag == kDuplicateIndices);
}
