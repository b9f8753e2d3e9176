#include <algorithm>
#include <cub/device/device_scan.cuh>

#include "common/error_flag.h"
#include "cuda/launch.cuh"
#include "cuda/occupied.cuh"
#include "cuda/packed.cuh"

namespace elite_ops::cuda {
namespace {

constexpr uint32_t kWordsPerThread = 4;

__device__ void store_num_voxels(int64_t found, int64_t capacity, int64_t* num_voxels,
                                 int32_t* error_flag) {
  if (found > capacity) atomicOr(error_flag, static_cast<int32_t>(kCapacityExceeded));
  *num_voxels = min(found, capacity);
}

__global__ void count_cells_kernel(BitmapGrids all, RankedBitmap bitmap, OccupiedSizes sizes,
                                   int32_t* error_flag) {
  const int g = static_cast<int>(threadIdx.x);
  if (g >= all.count) return;
  const uint32_t found = bitmap.ranks[all.first_word[g + 1]] - bitmap.ranks[all.first_word[g]];
  store_num_voxels(found, all.capacity[g], sizes.num_voxels[g], error_flag);
}

// Writes the cells of one word.
__device__ void emit_word(const BitmapGrids& all, const OccupiedCells& cells, uint32_t i,
                          unsigned long long word, const uint32_t* __restrict__ ranks) {
  int g = 0;
  while (i >= all.first_word[g + 1]) ++g;
  const auto first = static_cast<uint32_t>(all.first_word[g]);
  const uint32_t rank = ranks[i] - ranks[first];
  const VoxelGrid& grid = all.grids[g];
  Packed<int32_t, 4> index;
  static_assert(kMaxBitmapWords * 64 <= UINT32_MAX, "the keys of a grid fit in 32 bits");
  grid.unpack((i - first) * 64, index.values);
  const int32_t z = index.values[3];
  const auto capacity = static_cast<uint32_t>(min(all.capacity[g], int64_t{INT32_MAX}));
  auto* indices = reinterpret_cast<Packed<int32_t, 4>*>(cells.indices[g]);
  int32_t* counts = cells.counts[g];
  for (uint32_t row = rank; word != 0 && row < capacity; word &= word - 1, ++row) {
    index.values[3] = z + __ffsll(static_cast<long long>(word)) - 1;
    indices[row] = index;
    if (counts != nullptr) counts[row] = 0;
  }
}

// A thread takes a few words, which it loads at once: most are empty.
__global__ void emit_words_kernel(BitmapGrids all, RankedBitmap bitmap, OccupiedCells cells) {
  const auto num_words = static_cast<uint32_t>(bitmap.num_words);
  const uint32_t first = blockIdx.x * (kWordsPerThread * blockDim.x) + threadIdx.x;
  unsigned long long words[kWordsPerThread];
#pragma unroll
  for (uint32_t j = 0; j < kWordsPerThread; ++j) {
    const uint32_t i = first + j * blockDim.x;
    words[j] = i < num_words ? bitmap.words[i] : 0;
  }
#pragma unroll 1
  for (uint32_t j = 0; j < kWordsPerThread; ++j) {
    if (words[j] != 0) emit_word(all, cells, first + j * blockDim.x, words[j], bitmap.ranks);
  }
}

__device__ bool is_first_of_its_key(const KeySort& sort, int64_t i, uint64_t key_end) {
  const uint64_t key = sort.sorted_keys[i];
  return key != key_end && (i == 0 || key != sort.sorted_keys[i - 1]);
}

__global__ void find_first_kernel(KeySort sort, uint64_t key_end, int32_t* __restrict__ is_first) {
  const int64_t i = global_thread();
  if (i < sort.num_rows) is_first[i] = is_first_of_its_key(sort, i, key_end);
}

__global__ void count_sorted_kernel(const int32_t* __restrict__ numbers, int64_t num_rows,
                                    int64_t capacity, int64_t* __restrict__ num_voxels,
                                    int32_t* error_flag) {
  store_num_voxels(numbers[num_rows - 1], capacity, num_voxels, error_flag);
}

__global__ void emit_sorted_kernel(KeySort sort, const int32_t* __restrict__ numbers,
                                   VoxelGrid grid, int64_t capacity, int32_t* indices,
                                   int32_t* inverse, int32_t* counts) {
  const int64_t i = global_thread();
  if (i >= sort.num_rows) return;
  const auto key_end = static_cast<uint64_t>(grid.num_words()) * 64;
  const bool inside = sort.sorted_keys[i] != key_end && numbers[i] <= capacity;
  const int32_t row = inside ? numbers[i] - 1 : -1;
  if (inverse != nullptr) inverse[sort.sorted_rows[i]] = row;
  if (!inside) return;
  if (counts != nullptr) atomicAdd(&counts[row], 1);
  if (is_first_of_its_key(sort, i, key_end)) {
    grid.unpack(static_cast<int64_t>(sort.sorted_keys[i]), indices + int64_t{row} * 4);
  }
}

}  // namespace

cudaError_t rank_occupied(const BitmapGrids& all, const RankedBitmap& bitmap,
                          const OccupiedSizes& sizes, int32_t* error_flag, cudaStream_t stream) {
  ELITE_CUDA_TRY(rank_words(bitmap, stream));
  const cudaLaunchConfig_t per_grid = launch_config(1, kMaxGrids, stream);
  return cudaLaunchKernelEx(&per_grid, count_cells_kernel, all, bitmap, sizes, error_flag);
}

cudaError_t emit_occupied(const BitmapGrids& all, const RankedBitmap& bitmap,
                          const OccupiedCells& cells, cudaStream_t stream) {
  constexpr int64_t kBlockWords = kWordsPerThread * kThreadsPerBlock;
  const int64_t blocks = (bitmap.num_words + kBlockWords - 1) / kBlockWords;
  const cudaLaunchConfig_t per_words = launch_config(blocks, kThreadsPerBlock, stream);
  return cudaLaunchKernelEx(&per_words, emit_words_kernel, all, bitmap, cells);
}

SortedGrid take_sorted_grid(Workspace& workspace, int64_t num_rows) {
  SortedGrid grid{take_key_sort(workspace, num_rows), workspace.take<int32_t>(num_rows), nullptr,
                  0};
  cub::DeviceScan::InclusiveSum(nullptr, grid.scan_bytes, grid.numbers, grid.numbers, num_rows);
  grid.scan_scratch = workspace.take<unsigned char>(static_cast<int64_t>(grid.scan_bytes));
  return grid;
}

cudaError_t rank_sorted(const SortedGrid& sorted, const VoxelGrid& grid, int64_t capacity,
                        int64_t* num_voxels, int32_t* error_flag, cudaStream_t stream) {
  const int64_t num_rows = sorted.sort.num_rows, key_end = grid.num_words() * 64;
  const cudaLaunchConfig_t config = one_thread_per(num_rows, stream);
  ELITE_CUDA_TRY(sort_by_key(sorted.sort, key_end + 1, stream));
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&config, find_first_kernel, sorted.sort,
                                    static_cast<uint64_t>(key_end), sorted.numbers));
  size_t scan_bytes = sorted.scan_bytes;
  ELITE_CUDA_TRY(cub::DeviceScan::InclusiveSum(sorted.scan_scratch, scan_bytes, sorted.numbers,
                                               sorted.numbers, num_rows, stream));
  const cudaLaunchConfig_t single = launch_config(1, 1, stream);
  return cudaLaunchKernelEx(&single, count_sorted_kernel,
                            static_cast<const int32_t*>(sorted.numbers), num_rows, capacity,
                            num_voxels, error_flag);
}

cudaError_t emit_sorted(const SortedGrid& sorted, const VoxelGrid& grid, int64_t capacity,
                        int32_t* indices, int32_t* inverse, int32_t* counts, cudaStream_t stream) {
  if (counts != nullptr) {
    const int64_t rows = std::min(capacity, sorted.sort.num_rows);
    ELITE_CUDA_TRY(cudaMemsetAsync(counts, 0, rows * sizeof(*counts), stream));
  }
  const cudaLaunchConfig_t config = one_thread_per(sorted.sort.num_rows, stream);
  return cudaLaunchKernelEx(&config, emit_sorted_kernel, sorted.sort,
                            static_cast<const int32_t*>(sorted.numbers), grid, capacity, indices,
                            inverse, counts);
}

}  // namespace elite_ops::cuda
