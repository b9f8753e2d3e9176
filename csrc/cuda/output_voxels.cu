#include <limits>
#include <numeric>

#include "common/error_flag.h"
#include "cuda/launch.cuh"
#include "cuda/occupied.cuh"
#include "cuda/output_voxels.h"

namespace elite_ops::cuda {
namespace {

constexpr int64_t kNoCapacity = std::numeric_limits<int64_t>::max();

// Calls body(key) for each output cell that a voxel meets.
template <typename Body>
__device__ void for_each_output_key(const OutputVoxelsArguments& a, int64_t i, const Body& body) {
  const int32_t* index = a.voxels.indices + i * 4;
  const int32_t* shape = a.outputs.shape;
  for_each_output(a.kernel, 0, a.transposed, index[1], shape[0], [&](int32_t x, int32_t) {
    for_each_output(a.kernel, 1, a.transposed, index[2], shape[1], [&](int32_t y, int32_t) {
      for_each_output(a.kernel, 2, a.transposed, index[3], shape[2],
                      [&](int32_t z, int32_t) { body(a.outputs.key(index[0], x, y, z)); });
    });
  });
}

__device__ bool check_voxel(const VoxelSet& voxels, int64_t i, int32_t* error_flag) {
  if (voxels.in_grid(i)) return true;
  atomicOr(error_flag, static_cast<int32_t>(kIndexOutOfRange));
  return false;
}

__global__ void mark_outputs_kernel(OutputVoxelsArguments a, RankedBitmap bitmap,
                                    int32_t* error_flag) {
  const int64_t i = global_thread();
  if (i >= a.voxels.num_voxels || !check_voxel(a.voxels, i, error_flag)) return;
  for_each_output_key(a, i, [&](int64_t key) {
    // Voxels share outputs: reading first spares most of them the atomic.
    if (!bitmap.contains(key)) bitmap.mark(key);
  });
}

// A voxel has a fixed number of places among the keys, and fills up those it doesn't need.
__global__ void key_outputs_kernel(OutputVoxelsArguments a, KeySort sort, int64_t max_outputs,
                                   int32_t* error_flag) {
  const int64_t i = global_thread();
  if (i >= a.voxels.num_voxels) return;
  uint64_t* keys = sort.keys + i * max_outputs;
  int64_t count = 0;
  if (check_voxel(a.voxels, i, error_flag)) {
    for_each_output_key(a, i, [&](int64_t key) { keys[count++] = key; });
  }
  for (; count < max_outputs; ++count) keys[count] = a.outputs.num_words() * 64;
}

// The most output cells that a voxel can meet: along an axis, offsets whose displacements differ by
// less than a stride have no output in common.
int64_t max_outputs_of(const OutputVoxelsArguments& a) {
  int64_t product = 1;
  for (int axis = 0; axis < 3; ++axis) {
    const int32_t size = a.kernel.size[axis], stride = a.kernel.stride[axis];
    const int32_t step = a.transposed ? 1 : stride / std::gcd(stride, a.kernel.dilation[axis]);
    product *= (size + step - 1) / step;
  }
  return product;
}

// What the phases share, in the workspace of the caller.
struct Scratch {
  bool is_sorted;
  BitmapGrids grids;
  RankedBitmap bitmap{};
  SortedGrid sorted{};
  size_t bytes;

  Scratch(const OutputVoxelsArguments& a, void* buffer)
      : is_sorted(!uses_bitmap(a.outputs.num_words(), a.voxels.num_voxels)) {
    Workspace workspace(buffer);
    if (is_sorted) {
      sorted = take_sorted_grid(workspace, a.voxels.num_voxels * max_outputs_of(a));
    } else {
      grids.add(a.outputs, kNoCapacity);
      bitmap = take_bitmap(workspace, grids.num_words());
    }
    bytes = workspace.bytes();
  }
};

}  // namespace

size_t output_voxels_workspace_bytes(const OutputVoxelsArguments& arguments) {
  return arguments.voxels.num_voxels == 0 ? 0 : Scratch(arguments, nullptr).bytes;
}

cudaError_t count_output_voxels(const OutputVoxelsArguments& a, void* workspace,
                                int64_t* num_outputs, int32_t* error_flag, cudaStream_t stream) {
  if (a.voxels.num_voxels == 0) {
    return cudaMemsetAsync(num_outputs, 0, sizeof(*num_outputs), stream);
  }
  const Scratch scratch(a, workspace);
  const cudaLaunchConfig_t per_voxel = one_thread_per(a.voxels.num_voxels, stream);
  if (scratch.is_sorted) {
    ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_voxel, key_outputs_kernel, a, scratch.sorted.sort,
                                      max_outputs_of(a), error_flag));
    return rank_sorted(scratch.sorted, a.outputs, kNoCapacity, num_outputs, error_flag, stream);
  }
  ELITE_CUDA_TRY(clear(scratch.bitmap, stream));
  ELITE_CUDA_TRY(
      cudaLaunchKernelEx(&per_voxel, mark_outputs_kernel, a, scratch.bitmap, error_flag));
  OccupiedSizes sizes{};
  sizes.num_voxels[0] = num_outputs;
  return rank_occupied(scratch.grids, scratch.bitmap, sizes, error_flag, stream);
}

cudaError_t emit_output_voxels(const OutputVoxelsArguments& a, void* workspace, int64_t num_outputs,
                               int32_t* indices, cudaStream_t stream) {
  if (num_outputs == 0) return cudaSuccess;
  const Scratch scratch(a, workspace);
  if (scratch.is_sorted) {
    return emit_sorted(scratch.sorted, a.outputs, num_outputs, indices, nullptr, nullptr, stream);
  }
  OccupiedCells cells{};
  cells.indices[0] = indices;
  return emit_occupied(scratch.grids, scratch.bitmap, cells, stream);
}

}  // namespace elite_ops::cuda
