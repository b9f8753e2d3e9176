#include <algorithm>
#include <cub/device/device_scan.cuh>

#include "common/error_flag.h"
#include "cuda/key_sort.cuh"
#include "cuda/launch.cuh"
#include "cuda/neighbors.cuh"
#include "cuda/ranked_bitmap.cuh"
#include "cuda/voxelize.h"
#include "cuda/workspace.cuh"

namespace elite_ops::cuda {
namespace {

// The scales that the bitmap serves, one after the other in the same words.
struct BitmapScales {
  int count;
  int64_t batch_size;
  VoxelGrid grids[kMaxScales];
  int64_t first_word[kMaxScales + 1];
  int64_t* num_voxels[kMaxScales];
  VoxelRows voxels[kMaxScales];

  // The key of a point at a scale, in the common bitmap.
  __device__ int64_t key(int s, const PointRange& range, const float* p, int64_t sample) const {
    return first_word[s] * 64 + grids[s].key(range, p, sample);
  }
};

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

__global__ void mark_points_kernel(PointRows points, PointRange range, BitmapScales scales,
                                   RankedBitmap bitmap, int32_t* error_flag) {
  const int64_t i = global_thread();
  if (i >= points.num_points) return;
  const float* p = points.at(i);
  const int64_t sample = points.sample(i);
  if (!has_voxel(range, p, sample, scales.batch_size, error_flag)) return;
  for (int s = 0; s < scales.count; ++s) {
    const int64_t key = scales.key(s, range, p, sample);
    // Points of a voxel are many, and mostly neighbours: reading first spares them the atomic.
    if (!bitmap.contains(key)) bitmap.mark(key);
  }
}

__global__ void count_bitmap_voxels_kernel(BitmapScales scales, RankedBitmap bitmap) {
  const int s = static_cast<int>(threadIdx.x);
  if (s >= scales.count) return;
  *scales.num_voxels[s] =
      bitmap.ranks[scales.first_word[s + 1]] - bitmap.ranks[scales.first_word[s]];
}

__global__ void emit_words_kernel(BitmapScales scales, RankedBitmap bitmap) {
  const int64_t i = global_thread();
  if (i >= bitmap.num_words) return;
  unsigned long long word = bitmap.words[i];
  if (word == 0) return;
  int s = 0;
  while (i >= scales.first_word[s + 1]) ++s;
  const VoxelRows& voxels = scales.voxels[s];
  int64_t row = bitmap.ranks[i] - bitmap.ranks[scales.first_word[s]];
  for (; word != 0; word &= word - 1, ++row) {
    const int64_t key = (i - scales.first_word[s]) * 64 + (__ffsll(word) - 1);
    scales.grids[s].unpack(key, voxels.indices + row * 4);
    voxels.counts[row] = 0;
  }
}

__global__ void assign_points_kernel(PointRows points, PointRange range, BitmapScales scales,
                                     RankedBitmap bitmap) {
  const int64_t i = global_thread();
  if (i >= points.num_points) return;
  const float* p = points.at(i);
  const int64_t sample = points.sample(i);
  const bool inside = range.contains(p) && is_sample(sample, scales.batch_size);
  for (int s = 0; s < scales.count; ++s) {
    const VoxelRows& voxels = scales.voxels[s];
    int32_t row = -1;
    if (inside) {
      const uint32_t rank = bitmap.rank(scales.key(s, range, p, sample));
      row = static_cast<int32_t>(rank - bitmap.ranks[scales.first_word[s]]);
      atomicAdd(&voxels.counts[row], 1);
    }
    voxels.inverse[i] = row;
  }
}

// A scale that is sorted: keys in order, those of points without a voxel last, and the number of
// different keys up to each.
struct SortedScale {
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
                                           int64_t* __restrict__ num_voxels) {
  *num_voxels = numbers[num_points - 1];
}

__global__ void emit_sorted_kernel(KeySort sort, const int32_t* __restrict__ numbers,
                                   VoxelGrid grid, VoxelRows voxels) {
  const int64_t i = global_thread();
  if (i >= sort.num_rows) return;
  const auto key_end = static_cast<uint64_t>(grid.num_words()) * 64;
  const bool inside = sort.sorted_keys[i] != key_end;
  const int32_t row = inside ? numbers[i] - 1 : -1;
  voxels.inverse[sort.sorted_rows[i]] = row;
  if (!inside) return;
  atomicAdd(&voxels.counts[row], 1);
  if (is_first_of_its_key(sort, i, key_end)) {
    grid.unpack(static_cast<int64_t>(sort.sorted_keys[i]), voxels.indices + int64_t{row} * 4);
  }
}

// What the two phases share, in the workspace of the caller.
struct Scratch {
  BitmapScales bitmap_scales{};
  int bitmap_scale[kMaxScales];  // their numbers among all scales
  RankedBitmap bitmap{};
  SortedScale sorted[kMaxScales];  // by the number among all scales
  bool is_sorted[kMaxScales];
  size_t bytes;

  Scratch(const VoxelizeArguments& a, void* buffer) {
    Workspace workspace(buffer);
    BitmapScales& scales = bitmap_scales;
    scales.batch_size = a.grids[0].batch_size;
    for (int s = 0; s < a.num_scales; ++s) {
      const int64_t num_words = a.grids[s].num_words();
      is_sorted[s] = !uses_bitmap(num_words, a.points.num_points);
      if (is_sorted[s]) {
        sorted[s] = take_sorted(workspace, a.points.num_points);
      } else {
        bitmap_scale[scales.count] = s;
        scales.grids[scales.count] = a.grids[s];
        scales.first_word[scales.count + 1] = scales.first_word[scales.count] + num_words;
        ++scales.count;
      }
    }
    bitmap = take_bitmap(workspace, scales.first_word[scales.count]);
    bytes = workspace.bytes();
  }

 private:
  static SortedScale take_sorted(Workspace& workspace, int64_t num_points) {
    SortedScale scale{take_key_sort(workspace, num_points), workspace.take<int32_t>(num_points),
                      nullptr, 0};
    cub::DeviceScan::InclusiveSum(nullptr, scale.scan_bytes, scale.numbers, scale.numbers,
                                  num_points);
    scale.scan_scratch = workspace.take<unsigned char>(static_cast<int64_t>(scale.scan_bytes));
    return scale;
  }
};

cudaError_t count_sorted(const VoxelizeArguments& a, const VoxelGrid& grid,
                         const SortedScale& scale, int64_t* num_voxels, int32_t* error_flag,
                         cudaStream_t stream) {
  const cudaLaunchConfig_t config = one_thread_per(a.points.num_points, stream);
  const int64_t key_end = grid.num_words() * 64;
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&config, key_points_kernel, a.points, a.range, grid, scale.sort,
                                    error_flag));
  ELITE_CUDA_TRY(sort_by_key(scale.sort, key_end + 1, stream));
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&config, find_first_kernel, scale.sort,
                                    static_cast<uint64_t>(key_end), scale.numbers));
  size_t scan_bytes = scale.scan_bytes;
  ELITE_CUDA_TRY(cub::DeviceScan::InclusiveSum(scale.scan_scratch, scan_bytes, scale.numbers,
                                               scale.numbers, a.points.num_points, stream));
  const cudaLaunchConfig_t single = launch_config(1, 1, stream);
  return cudaLaunchKernelEx(&single, count_sorted_voxels_kernel,
                            static_cast<const int32_t*>(scale.numbers), a.points.num_points,
                            num_voxels);
}

}  // namespace

size_t voxelize_workspace_bytes(const VoxelizeArguments& arguments) {
  return Scratch(arguments, nullptr).bytes;
}

cudaError_t count_voxels(const VoxelizeArguments& a, void* workspace, int64_t* num_voxels,
                         int32_t* error_flag, cudaStream_t stream) {
  if (a.points.num_points == 0) {
    return cudaMemsetAsync(num_voxels, 0, a.num_scales * sizeof(*num_voxels), stream);
  }
  const cudaLaunchConfig_t per_point = one_thread_per(a.points.num_points, stream);
  Scratch scratch(a, workspace);
  BitmapScales& scales = scratch.bitmap_scales;
  for (int s = 0; s < a.num_scales; ++s) {
    if (!scratch.is_sorted[s]) continue;
    ELITE_CUDA_TRY(
        count_sorted(a, a.grids[s], scratch.sorted[s], num_voxels + s, error_flag, stream));
  }
  if (scales.count == 0) return cudaSuccess;
  for (int s = 0; s < scales.count; ++s) {
    scales.num_voxels[s] = num_voxels + scratch.bitmap_scale[s];
  }
  ELITE_CUDA_TRY(clear(scratch.bitmap, stream));
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_point, mark_points_kernel, a.points, a.range, scales,
                                    scratch.bitmap, error_flag));
  ELITE_CUDA_TRY(rank_words(scratch.bitmap, stream));
  const cudaLaunchConfig_t per_scale = launch_config(1, kMaxScales, stream);
  return cudaLaunchKernelEx(&per_scale, count_bitmap_voxels_kernel, scales, scratch.bitmap);
}

cudaError_t emit_voxels(const VoxelizeArguments& a, void* workspace, const VoxelRows* voxels,
                        const int64_t* num_voxels, cudaStream_t stream) {
  if (a.points.num_points == 0) return cudaSuccess;
  const cudaLaunchConfig_t per_point = one_thread_per(a.points.num_points, stream);
  Scratch scratch(a, workspace);
  for (int s = 0; s < a.num_scales; ++s) {
    if (!scratch.is_sorted[s]) continue;
    ELITE_CUDA_TRY(
        cudaMemsetAsync(voxels[s].counts, 0, num_voxels[s] * sizeof(*voxels[s].counts), stream));
    ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_point, emit_sorted_kernel, scratch.sorted[s].sort,
                                      static_cast<const int32_t*>(scratch.sorted[s].numbers),
                                      a.grids[s], voxels[s]));
  }
  BitmapScales& scales = scratch.bitmap_scales;
  if (scales.count == 0) return cudaSuccess;
  for (int s = 0; s < scales.count; ++s) scales.voxels[s] = voxels[scratch.bitmap_scale[s]];
  const cudaLaunchConfig_t per_word = one_thread_per(scratch.bitmap.num_words, stream);
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_word, emit_words_kernel, scales, scratch.bitmap));
  return cudaLaunchKernelEx(&per_point, assign_points_kernel, a.points, a.range, scales,
                            scratch.bitmap);
}

cudaError_t find_voxel_neighbors(const VoxelizeArguments& a, void* workspace,
                                 const VoxelRows* voxels, const int64_t* num_voxels,
                                 const KernelShape& kernel, int32_t* const* neighbors,
                                 cudaStream_t stream) {
  if (a.points.num_points == 0) return cudaSuccess;
  const Scratch scratch(a, workspace);
  const auto voxel_set = [&](int s) {
    return VoxelSet{voxels[s].indices, num_voxels[s], a.grids[s]};
  };
  NeighborTables<BitmapRows> by_bitmap{kernel};
  NeighborTables<SortedRows> by_sort{kernel};
  for (int s = 0; s < a.num_scales; ++s) {
    if (!scratch.is_sorted[s]) continue;
    const SortedScale& scale = scratch.sorted[s];  // its numbers start with 1
    const SortedRows index{scale.sort.sorted_keys, a.points.num_points, scale.numbers, 1};
    by_sort.add(voxel_set(s), index, neighbors[s]);
  }
  for (int b = 0; b < scratch.bitmap_scales.count; ++b) {
    const int s = scratch.bitmap_scale[b];
    const BitmapRows index{scratch.bitmap, scratch.bitmap_scales.first_word[b], nullptr};
    by_bitmap.add(voxel_set(s), index, neighbors[s]);
  }
  ELITE_CUDA_TRY(find_neighbors(by_sort, stream));
  return find_neighbors(by_bitmap, stream);
}

}  // namespace elite_ops::cuda
