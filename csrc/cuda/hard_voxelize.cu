#include <cub/device/device_scan.cuh>

#include "common/error_flag.h"
#include "cuda/hard_voxelize.h"
#include "cuda/key_sort.cuh"
#include "cuda/launch.cuh"
#include "cuda/lower_bound.cuh"
#include "cuda/workspace.cuh"

// Places are the points in order of their samples, each sample's in their order. A run is the
// points of one voxel, side by side where points are sorted by cell, the first one in front.
namespace elite_ops::cuda {
namespace {

struct Scratch {
  bool has_samples;
  KeySort by_cell;
  KeySort by_sample;    // where there are samples
  int32_t* place;       // [N]: of each point; where there are samples
  int32_t* run;         // [N]: where in the order of cells the run of each begins
  int32_t* is_first;    // [N + 1]: by place, 1 for the first point of a voxel
  int32_t* num_before;  // [N + 1]: the first points before each place
  void* sum_scratch;
  size_t sum_bytes;
  size_t bytes;

  Scratch(const HardVoxelizeArguments& a, void* buffer) : has_samples(a.points.batch_index) {
    const int64_t n = a.points.num_points;
    Workspace workspace(buffer);
    by_cell = take_key_sort(workspace, n);
    by_sample = has_samples ? take_key_sort(workspace, n) : KeySort{};
    place = workspace.take<int32_t>(has_samples ? n : 0);
    run = workspace.take<int32_t>(n);
    is_first = workspace.take<int32_t>(n + 1);
    num_before = workspace.take<int32_t>(n + 1);
    sum_bytes = 0;
    cub::DeviceScan::ExclusiveSum(nullptr, sum_bytes, is_first, num_before, n + 1);
    sum_scratch = workspace.take<unsigned char>(static_cast<int64_t>(sum_bytes));
    bytes = workspace.bytes();
  }

  __device__ int64_t place_of(int32_t point) const { return has_samples ? place[point] : point; }

  // The first place of the sample that a place belongs to.
  __device__ int64_t first_of_sample(int64_t at) const {
    if (!has_samples) return 0;
    return lower_bound(by_sample.sorted_keys, 0, by_sample.num_rows, by_sample.sorted_keys[at]);
  }

  // Sums is_first into num_before.
  cudaError_t sum(cudaStream_t stream) const {
    size_t available = sum_bytes;
    return cub::DeviceScan::ExclusiveSum(sum_scratch, available, is_first, num_before,
                                         by_cell.num_rows + 1, stream);
  }
};

// The key of the cell of a point; `key_end` if it is in none.
__device__ int64_t key_of(const HardVoxelizeArguments& a, int64_t i, int64_t key_end) {
  const float* p = a.points.at(i);
  int64_t key = a.points.sample(i);
  bool is_inside = key >= 0 && key < a.grid.batch_size;
  for (int axis = 0; axis < 3; ++axis) {
    const float position = a.grid.position(p[axis], axis);
    const bool contains = a.grid.contains(position, axis);
    is_inside &= contains;
    key = key * a.grid.shape[axis] + (contains ? static_cast<int32_t>(position) : 0);
  }
  return is_inside ? key : key_end;
}

__global__ void key_points_kernel(HardVoxelizeArguments a, Scratch scratch, int32_t* error_flag) {
  const int64_t i = global_thread();
  if (i > a.points.num_points) return;
  scratch.is_first[i] = 0;
  if (i == a.points.num_points) return;
  scratch.by_cell.keys[i] = static_cast<uint64_t>(key_of(a, i, a.grid.num_cells()));
  scratch.by_cell.rows[i] = static_cast<int32_t>(i);
  if (!scratch.has_samples) return;
  const int64_t sample = a.points.sample(i);
  const bool exists = sample >= 0 && sample < a.grid.batch_size;
  if (!exists) atomicOr(error_flag, static_cast<int32_t>(kIndexOutOfRange));
  scratch.by_sample.keys[i] = static_cast<uint64_t>(exists ? sample : a.grid.batch_size);
  scratch.by_sample.rows[i] = static_cast<int32_t>(i);
}

__global__ void place_points_kernel(Scratch scratch) {
  const int64_t at = global_thread();
  if (at >= scratch.by_sample.num_rows) return;
  scratch.place[scratch.by_sample.sorted_rows[at]] = static_cast<int32_t>(at);
}

__global__ void find_runs_kernel(Scratch scratch, uint64_t key_end) {
  const int64_t i = global_thread();
  const KeySort& sort = scratch.by_cell;
  if (i >= sort.num_rows) return;
  const uint64_t key = sort.sorted_keys[i];
  if (key == key_end) return;
  const int64_t begin = lower_bound(sort.sorted_keys, 0, i, key);
  scratch.run[i] = static_cast<int32_t>(begin);
  if (begin == i) scratch.is_first[scratch.place_of(sort.sorted_rows[i])] = 1;
}

// Voxels that are one too many for their sample have no first point any more.
__global__ void limit_voxels_kernel(Scratch scratch, int64_t max_voxels) {
  const int64_t at = global_thread();
  if (at >= scratch.by_cell.num_rows || scratch.is_first[at] == 0) return;
  const int64_t in_samples_before = scratch.num_before[scratch.first_of_sample(at)];
  if (scratch.num_before[at] - in_samples_before >= max_voxels) scratch.is_first[at] = 0;
}

// The row of a voxel, by the place of its first point.
__device__ int32_t row_of_voxel(const Scratch& scratch, int64_t first) {
  return scratch.is_first[first] == 0 ? -1 : scratch.num_before[first];
}

__global__ void place_in_voxels_kernel(Scratch scratch, uint64_t key_end, int64_t max_points,
                                       PointPlaces places, int64_t* num_voxels) {
  const int64_t i = global_thread();
  const KeySort& sort = scratch.by_cell;
  if (i >= sort.num_rows) return;
  if (i == 0) *num_voxels = scratch.num_before[sort.num_rows];
  const int32_t point = sort.sorted_rows[i];
  int32_t row = -1, slot = -1;
  if (sort.sorted_keys[i] != key_end) {
    const int32_t begin = scratch.run[i];
    row = row_of_voxel(scratch, scratch.place_of(sort.sorted_rows[begin]));
    if (row >= 0 && i - begin < max_points) slot = static_cast<int32_t>(i - begin);
  }
  places.rows[point] = row;
  places.slots[point] = slot;
}

__global__ void emit_voxels_kernel(Scratch scratch, CellGrid grid, int64_t max_points,
                                   HardVoxelRows voxels) {
  const int64_t i = global_thread();
  const KeySort& sort = scratch.by_cell;
  if (i >= sort.num_rows) return;
  const uint64_t key = sort.sorted_keys[i];
  if (key == static_cast<uint64_t>(grid.num_cells()) || scratch.run[i] != i) return;
  const int32_t row = row_of_voxel(scratch, scratch.place_of(sort.sorted_rows[i]));
  if (row < 0) return;
  const int64_t end = min(sort.num_rows, i + max_points);
  voxels.counts[row] = static_cast<int32_t>(lower_bound(sort.sorted_keys, i, end, key + 1) - i);
  grid.unpack(static_cast<int64_t>(key), voxels.indices + int64_t{row} * 4);
}

}  // namespace

size_t hard_voxelize_workspace_bytes(const HardVoxelizeArguments& arguments) {
  return Scratch(arguments, nullptr).bytes;
}

cudaError_t number_hard_voxels(const HardVoxelizeArguments& a, void* workspace,
                               const PointPlaces& places, int64_t* num_voxels, int32_t* error_flag,
                               cudaStream_t stream) {
  const int64_t n = a.points.num_points, key_end = a.grid.num_cells();
  if (n == 0) return cudaMemsetAsync(num_voxels, 0, sizeof(*num_voxels), stream);
  const Scratch scratch(a, workspace);
  const cudaLaunchConfig_t per_point = one_thread_per(n, stream);
  const cudaLaunchConfig_t with_end = one_thread_per(n + 1, stream);
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&with_end, key_points_kernel, a, scratch, error_flag));
  ELITE_CUDA_TRY(sort_by_key(scratch.by_cell, key_end + 1, stream));
  if (scratch.has_samples) {
    ELITE_CUDA_TRY(sort_by_key(scratch.by_sample, a.grid.batch_size + 1, stream));
    ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_point, place_points_kernel, scratch));
  }
  ELITE_CUDA_TRY(
      cudaLaunchKernelEx(&per_point, find_runs_kernel, scratch, static_cast<uint64_t>(key_end)));
  ELITE_CUDA_TRY(scratch.sum(stream));
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_point, limit_voxels_kernel, scratch, a.limits.max_voxels));
  ELITE_CUDA_TRY(scratch.sum(stream));
  return cudaLaunchKernelEx(&per_point, place_in_voxels_kernel, scratch,
                            static_cast<uint64_t>(key_end), a.limits.max_points, places,
                            num_voxels);
}

cudaError_t emit_hard_voxels(const HardVoxelizeArguments& a, void* workspace,
                             const HardVoxelRows& voxels, cudaStream_t stream) {
  if (a.points.num_points == 0) return cudaSuccess;
  const cudaLaunchConfig_t per_point = one_thread_per(a.points.num_points, stream);
  return cudaLaunchKernelEx(&per_point, emit_voxels_kernel, Scratch(a, workspace), a.grid,
                            a.limits.max_points, voxels);
}

}  // namespace elite_ops::cuda
