#include <algorithm>

#include "common/error_flag.h"
#include "cuda/launch.cuh"
#include "cuda/neighbors.cuh"
#include "cuda/occupied.cuh"
#include "cuda/parents.cuh"
#include "cuda/voxelize.h"
#include "cuda/workspace.cuh"

namespace elite_ops::cuda {
namespace {

// The grids of points in a bitmap, and their results.
struct PointGrids {
  BitmapGrids all;
  OccupiedCells cells;
  int32_t* inverse[kMaxGrids];  // null where points are not what the grid is of
  int halved_by[kMaxGrids];  // the grid that halves this one, whose cells are found with it; or -1
  bool is_found[kMaxGrids];  // whether that is how this grid's cells are found
  int64_t batch_size;
};

// Neighbouring points of a scan mostly share a voxel. This is the number of points from this lane's
// on that do, where it is the first of them; else 0. So few lanes have something to add to what all
// points of a voxel share. The whole warp calls this; a key below 0 is none.
__device__ int first_of_run(int32_t key) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int32_t before = __shfl_up_sync(0xffffffffu, key, 1);
  const bool is_first = lane == 0 || key != before;
  const unsigned later = __ballot_sync(0xffffffffu, is_first) & (~1u << lane);
  const int next = later == 0 ? 32 : __ffs(static_cast<int>(later)) - 1;
  return is_first && key >= 0 ? next - lane : 0;
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

// The cell of a point in a grid of the bitmap, or none.
struct Cell {
  int32_t batch = 0, x = 0, y = 0, z = 0;
  bool exists = false;

  // As VoxelGrid's, or -1.
  __device__ int32_t key(const VoxelGrid& grid) const {
    static_assert(kMaxBitmapWords * 64 <= INT32_MAX, "the keys of a grid fit in 32 bits");
    const int32_t column = (batch * grid.shape[0] + x) * grid.shape[1] + y;
    return exists ? column * ((grid.shape[2] + 63) & ~63) + z : -1;
  }
  __device__ Cell halved() const { return {batch, x / 2, y / 2, z / 2, exists}; }
};

// A point of the thread, or none: the threads of a warp stay together.
struct Point {
  float xyz[3] = {};
  int64_t sample = 0;
  bool exists = false;

  __device__ Point(const PointRows& points, int64_t i) : exists(i < points.num_points) {
    if (!exists) return;
    const float* p = points.at(i);
#pragma unroll
    for (int axis = 0; axis < 3; ++axis) xyz[axis] = p[axis];
    sample = points.sample(i);
  }
  __device__ Cell cell(const VoxelGrid& grid, const PointRange& range) const {
    if (!exists) return {};
    return {static_cast<int32_t>(sample), grid.cell(range, xyz, 0), grid.cell(range, xyz, 1),
            grid.cell(range, xyz, 2), true};
  }
};

__global__ void mark_points_kernel(PointRows points, PointRange range, PointGrids grids,
                                   RankedBitmap bitmap, int32_t* error_flag) {
  Point point(points, global_thread());
  point.exists =
      point.exists && has_voxel(range, point.xyz, point.sample, grids.batch_size, error_flag);
  const auto mark = [&](const Cell& cell, int g) {
    const int32_t own = cell.key(grids.all.grids[g]);
    const int64_t key = grids.all.first_word[g] * 64 + own;
    // Reading first spares many atomics.
    if (first_of_run(own) > 0 && !bitmap.contains(key)) bitmap.mark(key);
  };
  for (int g = 0; g < grids.all.count; ++g) {
    if (grids.is_found[g]) continue;
    const Cell cell = point.cell(grids.all.grids[g], range);
    mark(cell, g);
    if (grids.halved_by[g] >= 0) mark(cell.halved(), grids.halved_by[g]);
  }
}

__global__ void assign_points_kernel(PointRows points, PointRange range, PointGrids grids,
                                     RankedBitmap bitmap) {
  const int64_t i = global_thread();
  const BitmapGrids& all = grids.all;
  Point point(points, i);
  point.exists =
      point.exists && range.contains(point.xyz) && is_sample(point.sample, grids.batch_size);
  for (int g = 0; g < all.count; ++g) {
    if (grids.inverse[g] == nullptr) continue;
    const int32_t key = point.cell(all.grids[g], range).key(all.grids[g]);
    int32_t row = -1;
    if (key >= 0) {
      const int64_t first = all.first_word[g];
      row = static_cast<int32_t>(bitmap.rank(first * 64 + key) - bitmap.ranks[first]);
      if (row >= all.capacity[g]) row = -1;
    }
    const int run = first_of_run(row);
    if (run > 0) atomicAdd(&grids.cells.counts[g][row], run);
    if (i < points.num_points) grids.inverse[g][i] = row;
  }
}

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

// What the phases share, in the workspace of the caller.
struct Scratch {
  PointGrids by_bitmap{};
  int bitmap_grid[kMaxGrids];  // their numbers among all grids
  RankedBitmap bitmap{};
  SortedGrid sorted[kMaxGrids];  // by the number among all grids
  bool is_sorted[kMaxGrids];
  size_t bytes;

  Scratch(const VoxelizeArguments& a, void* buffer) {
    Workspace workspace(buffer);
    BitmapGrids& all = by_bitmap.all;
    by_bitmap.batch_size = a.grids[0].grid.batch_size;
    for (int g = 0; g < a.num_grids; ++g) {
      is_sorted[g] = !uses_bitmap(a.grids[g].grid.num_words(), a.points.num_points);
      if (is_sorted[g]) {
        sorted[g] = take_sorted_grid(workspace, a.points.num_points);
      } else {
        bitmap_grid[all.count] = g;
        all.add(a.grids[g].grid, a.grids[g].capacity);
      }
    }
    for (int b = 0; b < all.count; ++b) relate(a, b);
    bitmap = take_bitmap(workspace, all.num_words());
    bytes = workspace.bytes();
  }

  // Finds out which of the bitmap's grids halves grid `b` of it, a grid of points, if one does.
  void relate(const VoxelizeArguments& a, int b) {
    int& halved_by = by_bitmap.halved_by[b];
    halved_by = -1;
    if (a.grids[bitmap_grid[b]].of != kOfPoints) return;
    for (int other = 0; other < by_bitmap.all.count && halved_by < 0; ++other) {
      if (a.grids[bitmap_grid[other]].of == bitmap_grid[b]) halved_by = other;
    }
    if (halved_by >= 0) by_bitmap.is_found[halved_by] = true;
  }

  // The rows of a sorted grid's keys.
  SortedRows sorted_rows(int g) const {
    const KeySort& sort = sorted[g].sort;
    return {sort.sorted_keys, sort.num_rows, sorted[g].numbers, 1};  // numbers start with 1
  }
  // The rows of the keys of the bitmap's grid number `b`.
  BitmapRows bitmap_rows(int b) const { return {bitmap, by_bitmap.all.first_word[b], nullptr}; }
};

cudaError_t count_sorted(const VoxelizeArguments& a, const GridArguments& of,
                         const SortedGrid& sorted, int64_t* num_voxels, int32_t* error_flag,
                         cudaStream_t stream) {
  const cudaLaunchConfig_t config = one_thread_per(a.points.num_points, stream);
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&config, key_points_kernel, a.points, a.range, of.grid,
                                    sorted.sort, error_flag));
  return rank_sorted(sorted, of.grid, of.capacity, num_voxels, error_flag, stream);
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
  for (int b = 0; b < scratch.by_bitmap.all.count; ++b) {
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
  for (int g = 0; g < a.num_grids; ++g) {
    if (!scratch.is_sorted[g]) continue;
    ELITE_CUDA_TRY(
        count_sorted(a, a.grids[g], scratch.sorted[g], num_voxels + g, error_flag, stream));
  }
  const BitmapGrids& all = scratch.by_bitmap.all;
  if (all.count == 0) return cudaSuccess;
  OccupiedSizes sizes{};
  for (int b = 0; b < all.count; ++b) sizes.num_voxels[b] = num_voxels + scratch.bitmap_grid[b];
  ELITE_CUDA_TRY(clear(scratch.bitmap, stream));
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_point, mark_points_kernel, a.points, a.range,
                                    scratch.by_bitmap, scratch.bitmap, error_flag));
  return rank_occupied(all, scratch.bitmap, sizes, error_flag, stream);
}

cudaError_t emit_voxels(const VoxelizeArguments& a, void* workspace, const VoxelRows* voxels,
                        const int64_t* num_voxels, cudaStream_t stream) {
  if (a.points.num_points == 0) return assign_nothing(a, voxels, stream);
  Scratch scratch(a, workspace);
  for (int g = 0; g < a.num_grids; ++g) {
    if (!scratch.is_sorted[g]) continue;
    const bool of_points = a.grids[g].of == kOfPoints;
    if (!of_points) {
      const int64_t rows = std::min(a.grids[g].capacity, a.points.num_points);
      ELITE_CUDA_TRY(
          cudaMemsetAsync(voxels[g].counts, 0, rows * sizeof(*voxels[g].counts), stream));
    }
    ELITE_CUDA_TRY(emit_sorted(scratch.sorted[g], a.grids[g].grid, a.grids[g].capacity,
                               voxels[g].indices, of_points ? voxels[g].inverse : nullptr,
                               of_points ? voxels[g].counts : nullptr, stream));
  }
  PointGrids& grids = scratch.by_bitmap;
  if (grids.all.count > 0) {
    for (int b = 0; b < grids.all.count; ++b) {
      const int g = scratch.bitmap_grid[b];
      grids.cells.indices[b] = voxels[g].indices;
      grids.cells.counts[b] = voxels[g].counts;
      grids.inverse[b] = a.grids[g].of == kOfPoints ? voxels[g].inverse : nullptr;
    }
    const cudaLaunchConfig_t per_point = one_thread_per(a.points.num_points, stream);
    ELITE_CUDA_TRY(emit_occupied(grids.all, scratch.bitmap, grids.cells, stream));
    ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_point, assign_points_kernel, a.points, a.range, grids,
                                      scratch.bitmap));
  }
  return assign_voxels(a, scratch, voxels, num_voxels, stream);
}

cudaError_t find_voxel_neighbors(const VoxelizeArguments& a, void* workspace,
                                 const VoxelRows* voxels, const int64_t* num_voxels,
                                 const KernelGeometry& kernel, int32_t* const* neighbors,
                                 cudaStream_t stream) {
  if (a.points.num_points == 0) return cudaSuccess;
  const Scratch scratch(a, workspace);
  NeighborTables<BitmapRows> by_bitmap(kernel, true);
  NeighborTables<SortedRows> by_sort(kernel, true);
  const auto add = [&](auto& tables, const auto& index, int g) {
    if (a.grids[g].of == kOfPoints) {
      const GridArguments& grid = a.grids[g];
      tables.add(voxel_set(a, voxels, num_voxels, g), grid.grid, grid.capacity, index,
                 neighbors[g]);
    }
  };
  for (int g = 0; g < a.num_grids; ++g) {
    if (scratch.is_sorted[g]) add(by_sort, scratch.sorted_rows(g), g);
  }
  for (int b = 0; b < scratch.by_bitmap.all.count; ++b) {
    add(by_bitmap, scratch.bitmap_rows(b), scratch.bitmap_grid[b]);
  }
  ELITE_CUDA_TRY(find_neighbors(by_sort, stream));
  return find_neighbors(by_bitmap, stream);
}

}  // namespace elite_ops::cuda
