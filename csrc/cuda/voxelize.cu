#include <algorithm>
#include <cub/device/device_scan.cuh>

#include "common/error_flag.h"
#include "cuda/key_sort.cuh"
#include "cuda/launch.cuh"
#include "cuda/neighbors.cuh"
#include "cuda/parents.cuh"
#include "cuda/ranked_bitmap.cuh"
#include "cuda/voxelize.h"
#include "cuda/workspace.cuh"

namespace elite_ops::cuda {
namespace {

// The grids that the bitmap serves, one after the other in the same words.
struct BitmapGrids {
  int count;
  int64_t batch_size;
  VoxelGrid grids[kMaxGrids];
  int64_t capacity[kMaxGrids];
  int64_t first_word[kMaxGrids + 1];
  int64_t* num_voxels[kMaxGrids];
  VoxelRows voxels[kMaxGrids];  // without `inverse` where points are not what it is of

  // The key of a point in a grid, in the common bitmap.
  __device__ int64_t key(int g, const PointRange& range, const float* p, int64_t sample) const {
    return first_word[g] * 64 + grids[g].key(range, p, sample);
  }
};

__device__ void store_num_voxels(int64_t found, int64_t capacity, int64_t* num_voxels,
                                 int32_t* error_flag) {
  if (found > capacity) atomicOr(error_flag, static_cast<int32_t>(kCapacityExceeded));
  *num_voxels = min(found, capacity);
}

__device__ bool is_sample(int64_t sample, int64_t batch_size) {
  return sample >= 0 && sample < batch_size;
}

// Whether a point has a voxel; reports a batch index that does not exist.
__device__ bool has_voxel(const PointRange& range, const float* p, int64_t sample,
                          int64_t batch_size, int32_t* error_flag) {
  if (is_sample(sample, batch_size)) return range.contains(p);
  atomicOr(error_flag, static_cast<int32_t>(kIndexOutOfRange));
  return false;
}

__global__ void mark_points_kernel(PointRows points, PointRange range, BitmapGrids all,
                                   RankedBitmap bitmap, int32_t* error_flag) {
  const int64_t i = global_thread();
  if (i >= points.num_points) return;
  const float* p = points.at(i);
  const int64_t sample = points.sample(i);
  if (!has_voxel(range, p, sample, all.batch_size, error_flag)) return;
  for (int g = 0; g < all.count; ++g) {
    const int64_t key = all.key(g, range, p, sample);
    // Points of a voxel are many, and mostly neighbours: reading first spares them the atomic.
    if (!bitmap.contains(key)) bitmap.mark(key);
  }
}

__global__ void count_bitmap_voxels_kernel(BitmapGrids all, RankedBitmap bitmap,
                                           int32_t* error_flag) {
  const int g = static_cast<int>(threadIdx.x);
  if (g >= all.count) return;
  const uint32_t found = bitmap.ranks[all.first_word[g + 1]] - bitmap.ranks[all.first_word[g]];
  store_num_voxels(found, all.capacity[g], all.num_voxels[g], error_flag);
}

__global__ void emit_words_kernel(BitmapGrids all, RankedBitmap bitmap) {
  const int64_t i = global_thread();
  if (i >= bitmap.num_words) return;
  unsigned long long word = bitmap.words[i];
  if (word == 0) return;
  int g = 0;
  while (i >= all.first_word[g + 1]) ++g;
  const VoxelRows& voxels = all.voxels[g];
  int64_t row = bitmap.ranks[i] - bitmap.ranks[all.first_word[g]];
  for (; word != 0 && row < all.capacity[g]; word &= word - 1, ++row) {
    const int64_t key = (i - all.first_word[g]) * 64 + (__ffsll(word) - 1);
    all.grids[g].unpack(key, voxels.indices + row * 4);
    voxels.counts[row] = 0;
  }
}

__global__ void assign_points_kernel(PointRows points, PointRange range, BitmapGrids all,
                                     RankedBitmap bitmap) {
  const int64_t i = global_thread();
  if (i >= points.num_points) return;
  const float* p = points.at(i);
  const int64_t sample = points.sample(i);
  const bool inside = range.contains(p) && is_sample(sample, all.batch_size);
  for (int g = 0; g < all.count; ++g) {
    const VoxelRows& voxels = all.voxels[g];
    if (voxels.inverse == nullptr) continue;
    int32_t row = -1;
    if (inside) {
      const uint32_t rank = bitmap.rank(all.key(g, range, p, sample));
      row = static_cast<int32_t>(rank - bitmap.ranks[all.first_word[g]]);
      if (row < all.capacity[g]) {
        atomicAdd(&voxels.counts[row], 1);
      } else {
        row = -1;
      }
    }
    voxels.inverse[i] = row;
  }
}

// A grid that is sorted: keys in order, those of points without a voxel last, and the number of
// different keys up to each.
struct SortedGrid {
  KeySort sort;
  int32_t* numbers;  // [N]
  void* scan_scratch;
  size_t scan_bytes;
};

__global__ void key_points_kernel(PointRows points, PointRange range, VoxelGrid grid, KeySort sort,
                                  int32_t* error_flag) {
  const int64_t i = global_thread();
  if (i >= points.num_points) return;
  const float* p = points.at(i);
  const int64_t sample = points.sample(i);
  const bool inside = has_voxel(range, p, sample, grid.batch_size, error_flag);
  sort.keys[i] = inside ? grid.key(range, p, sample) : grid.num_words() * 64;
  sort.rows[i] = static_cast<int32_t>(i);
}

__device__ bool is_first_of_its_key(const KeySort& sort, int64_t i, uint64_t key_end) {
  const uint64_t key = sort.sorted_keys[i];
  return key != key_end && (i == 0 || key != sort.sorted_keys[i - 1]);
}

__global__ void find_first_kernel(KeySort sort, uint64_t key_end, int32_t* __restrict__ is_first) {
  const int64_t i = global_thread();
  if (i < sort.num_rows) is_first[i] = is_first_of_its_key(sort, i, key_end);
}

__global__ void count_sorted_voxels_kernel(const int32_t* __restrict__ numbers, int64_t num_points,
                                           int64_t capacity, int64_t* __restrict__ num_voxels,
                                           int32_t* error_flag) {
  store_num_voxels(numbers[num_points - 1], capacity, num_voxels, error_flag);
}

// Without `inverse`, the points are not what the grid is of.
__global__ void emit_sorted_kernel(KeySort sort, const int32_t* __restrict__ numbers,
                                   VoxelGrid grid, int64_t capacity, VoxelRows voxels) {
  const int64_t i = global_thread();
  if (i >= sort.num_rows) return;
  const auto key_end = static_cast<uint64_t>(grid.num_words()) * 64;
  const bool inside = sort.sorted_keys[i] != key_end && numbers[i] <= capacity;
  const int32_t row = inside ? numbers[i] - 1 : -1;
  if (voxels.inverse != nullptr) voxels.inverse[sort.sorted_rows[i]] = row;
  if (!inside) return;
  if (voxels.inverse != nullptr) atomicAdd(&voxels.counts[row], 1);
  if (is_first_of_its_key(sort, i, key_end)) {
    grid.unpack(static_cast<int64_t>(sort.sorted_keys[i]), voxels.indices + int64_t{row} * 4);
  }
}

// What the phases share, in the workspace of the caller.
struct Scratch {
  BitmapGrids by_bitmap{};
  int bitmap_grid[kMaxGrids];  // their numbers among all grids
  RankedBitmap bitmap{};
  SortedGrid sorted[kMaxGrids];  // by the number among all grids
  bool is_sorted[kMaxGrids];
  size_t bytes;

  Scratch(const VoxelizeArguments& a, void* buffer) {
    Workspace workspace(buffer);
    BitmapGrids& all = by_bitmap;
    all.batch_size = a.grids[0].grid.batch_size;
    for (int g = 0; g < a.num_grids; ++g) {
      const int64_t num_words = a.grids[g].grid.num_words();
      is_sorted[g] = !uses_bitmap(num_words, a.points.num_points);
      if (is_sorted[g]) {
        sorted[g] = take_sorted(workspace, a.points.num_points);
      } else {
        bitmap_grid[all.count] = g;
        all.grids[all.count] = a.grids[g].grid;
        all.capacity[all.count] = a.grids[g].capacity;
        all.first_word[all.count + 1] = all.first_word[all.count] + num_words;
        ++all.count;
      }
    }
    bitmap = take_bitmap(workspace, all.first_word[all.count]);
    bytes = workspace.bytes();
  }

  // The rows of a sorted grid's keys.
  SortedRows sorted_rows(int g) const {
    const KeySort& sort = sorted[g].sort;
    return {sort.sorted_keys, sort.num_rows, sorted[g].numbers, 1};  // numbers start with 1
  }
  // The rows of the keys of the bitmap's grid number `b`.
  BitmapRows bitmap_rows(int b) const { return {bitmap, by_bitmap.first_word[b], nullptr}; }

 private:
  static SortedGrid take_sorted(Workspace& workspace, int64_t num_points) {
    SortedGrid grid{take_key_sort(workspace, num_points), workspace.take<int32_t>(num_points),
                    nullptr, 0};
    cub::DeviceScan::InclusiveSum(nullptr, grid.scan_bytes, grid.numbers, grid.numbers, num_points);
    grid.scan_scratch = workspace.take<unsigned char>(static_cast<int64_t>(grid.scan_bytes));
    return grid;
  }
};

cudaError_t count_sorted(const VoxelizeArguments& a, const GridArguments& of,
                         const SortedGrid& sorted, int64_t* num_voxels, int32_t* error_flag,
                         cudaStream_t stream) {
  const cudaLaunchConfig_t config = one_thread_per(a.points.num_points, stream);
  const int64_t key_end = of.grid.num_words() * 64;
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&config, key_points_kernel, a.points, a.range, of.grid,
                                    sorted.sort, error_flag));
  ELITE_CUDA_TRY(sort_by_key(sorted.sort, key_end + 1, stream));
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&config, find_first_kernel, sorted.sort,
                                    static_cast<uint64_t>(key_end), sorted.numbers));
  size_t scan_bytes = sorted.scan_bytes;
  ELITE_CUDA_TRY(cub::DeviceScan::InclusiveSum(sorted.scan_scratch, scan_bytes, sorted.numbers,
                                               sorted.numbers, a.points.num_points, stream));
  const cudaLaunchConfig_t single = launch_config(1, 1, stream);
  return cudaLaunchKernelEx(&single, count_sorted_voxels_kernel,
                            static_cast<const int32_t*>(sorted.numbers), a.points.num_points,
                            of.capacity, num_voxels, error_flag);
}

VoxelSet voxel_set(const VoxelizeArguments& a, const VoxelRows* voxels, const int64_t* num_voxels,
                   int g) {
  return {voxels[g].indices, a.grids[g].capacity, a.grids[g].grid, num_voxels + g};
}

// The cells of the halved grids for the voxels that they halve.
cudaError_t assign_voxels(const VoxelizeArguments& a, const Scratch& scratch,
                          const VoxelRows* voxels, const int64_t* num_voxels, cudaStream_t stream) {
  ParentTables<BitmapRows> by_bitmap;
  ParentTables<SortedRows> by_sort;
  const auto add = [&](auto& tables, const auto& index, int g) {
    const GridArguments& of = a.grids[g];
    if (of.of == kOfPoints) return;
    tables.add({voxel_set(a, voxels, num_voxels, of.of), index, of.grid, of.capacity,
                voxels[g].inverse, voxels[g].counts});
  };
  for (int g = 0; g < a.num_grids; ++g) {
    if (scratch.is_sorted[g]) add(by_sort, scratch.sorted_rows(g), g);
  }
  for (int b = 0; b < scratch.by_bitmap.count; ++b) {
    add(by_bitmap, scratch.bitmap_rows(b), scratch.bitmap_grid[b]);
  }
  ELITE_CUDA_TRY(find_parents(by_sort, stream));
  return find_parents(by_bitmap, stream);
}

// Without points: no voxel has a cell.
cudaError_t assign_nothing(const VoxelizeArguments& a, const VoxelRows* voxels,
                           cudaStream_t stream) {
  for (int g = 0; g < a.num_grids; ++g) {
    if (a.grids[g].of == kOfPoints) continue;
    const int64_t rows = a.grids[a.grids[g].of].capacity;
    ELITE_CUDA_TRY(
        cudaMemsetAsync(voxels[g].inverse, 0xFF, rows * sizeof(*voxels[g].inverse), stream));
  }
  return cudaSuccess;
}

}  // namespace

size_t voxelize_workspace_bytes(const VoxelizeArguments& arguments) {
  return Scratch(arguments, nullptr).bytes;
}

cudaError_t count_voxels(const VoxelizeArguments& a, void* workspace, int64_t* num_voxels,
                         int32_t* error_flag, cudaStream_t stream) {
  if (a.points.num_points == 0) {
    return cudaMemsetAsync(num_voxels, 0, a.num_grids * sizeof(*num_voxels), stream);
  }
  const cudaLaunchConfig_t per_point = one_thread_per(a.points.num_points, stream);
  Scratch scratch(a, workspace);
  BitmapGrids& all = scratch.by_bitmap;
  for (int g = 0; g < a.num_grids; ++g) {
    if (!scratch.is_sorted[g]) continue;
    ELITE_CUDA_TRY(
        count_sorted(a, a.grids[g], scratch.sorted[g], num_voxels + g, error_flag, stream));
  }
  if (all.count == 0) return cudaSuccess;
  for (int b = 0; b < all.count; ++b) all.num_voxels[b] = num_voxels + scratch.bitmap_grid[b];
  ELITE_CUDA_TRY(clear(scratch.bitmap, stream));
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_point, mark_points_kernel, a.points, a.range, all,
                                    scratch.bitmap, error_flag));
  ELITE_CUDA_TRY(rank_words(scratch.bitmap, stream));
  const cudaLaunchConfig_t per_grid = launch_config(1, kMaxGrids, stream);
  return cudaLaunchKernelEx(&per_grid, count_bitmap_voxels_kernel, all, scratch.bitmap, error_flag);
}

cudaError_t emit_voxels(const VoxelizeArguments& a, void* workspace, const VoxelRows* voxels,
                        const int64_t* num_voxels, cudaStream_t stream) {
  if (a.points.num_points == 0) return assign_nothing(a, voxels, stream);
  const cudaLaunchConfig_t per_point = one_thread_per(a.points.num_points, stream);
  Scratch scratch(a, workspace);
  const auto rows_of_points = [&](int g) {
    VoxelRows rows = voxels[g];
    if (a.grids[g].of != kOfPoints) rows.inverse = nullptr;
    return rows;
  };
  for (int g = 0; g < a.num_grids; ++g) {
    if (!scratch.is_sorted[g]) continue;
    const int64_t rows = std::min(a.grids[g].capacity, a.points.num_points);
    ELITE_CUDA_TRY(cudaMemsetAsync(voxels[g].counts, 0, rows * sizeof(*voxels[g].counts), stream));
    ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_point, emit_sorted_kernel, scratch.sorted[g].sort,
                                      static_cast<const int32_t*>(scratch.sorted[g].numbers),
                                      a.grids[g].grid, a.grids[g].capacity, rows_of_points(g)));
  }
  BitmapGrids& all = scratch.by_bitmap;
  if (all.count > 0) {
    for (int b = 0; b < all.count; ++b) all.voxels[b] = rows_of_points(scratch.bitmap_grid[b]);
    const cudaLaunchConfig_t per_word = one_thread_per(scratch.bitmap.num_words, stream);
    ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_word, emit_words_kernel, all, scratch.bitmap));
    ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_point, assign_points_kernel, a.points, a.range, all,
                                      scratch.bitmap));
  }
  return assign_voxels(a, scratch, voxels, num_voxels, stream);
}

cudaError_t find_voxel_neighbors(const VoxelizeArguments& a, void* workspace,
                                 const VoxelRows* voxels, const int64_t* num_voxels,
                                 const KernelShape& kernel, int32_t* const* neighbors,
                                 cudaStream_t stream) {
  if (a.points.num_points == 0) return cudaSuccess;
  const Scratch scratch(a, workspace);
  NeighborTables<BitmapRows> by_bitmap{kernel};
  NeighborTables<SortedRows> by_sort{kernel};
  const auto add = [&](auto& tables, const auto& index, int g) {
    if (a.grids[g].of == kOfPoints) {
      tables.add(voxel_set(a, voxels, num_voxels, g), index, neighbors[g]);
    }
  };
  for (int g = 0; g < a.num_grids; ++g) {
    if (scratch.is_sorted[g]) add(by_sort, scratch.sorted_rows(g), g);
  }
  for (int b = 0; b < scratch.by_bitmap.count; ++b) {
    add(by_bitmap, scratch.bitmap_rows(b), scratch.bitmap_grid[b]);
  }
  ELITE_CUDA_TRY(find_neighbors(by_sort, stream));
  return find_neighbors(by_bitmap, stream);
}

}  // namespace elite_ops::cuda
