#include <bit>
#include <cub/device/device_radix_sort.cuh>

#include "common/error_flag.h"
#include "cuda/launch.cuh"
#include "cuda/row_offsets.h"
#include "cuda/segments.h"
#include "cuda/workspace.cuh"

namespace elite_ops::cuda {
namespace {

struct Buffers {
  uint32_t* segment;         // of each point; num_segments for those in none
  uint32_t* sorted_segment;  // the same, rising
  int32_t* point;            // 0, 1, 2 ...
  void* sort_storage;
  size_t sort_bytes;
  size_t bytes;
};

Buffers cut(void* workspace, int64_t num_points) {
  Workspace space(workspace);
  Buffers buffers{};
  buffers.segment = space.take<uint32_t>(num_points);
  buffers.sorted_segment = space.take<uint32_t>(num_points);
  buffers.point = space.take<int32_t>(num_points);
  cub::DeviceRadixSort::SortPairs(nullptr, buffers.sort_bytes, buffers.segment,
                                  buffers.sorted_segment, buffers.point, buffers.point, num_points);
  buffers.sort_storage = space.take<unsigned char>(static_cast<int64_t>(buffers.sort_bytes));
  buffers.bytes = space.bytes();
  return buffers;
}

__global__ void segment_kernel(const int32_t* __restrict__ inverse, int64_t num_points,
                               int64_t num_segments, uint32_t* __restrict__ segment,
                               int32_t* __restrict__ point, int32_t* error_flag) {
  const int64_t i = global_thread();
  if (i >= num_points) return;
  const int32_t own = inverse[i];
  if (own < -1 || own >= num_segments) atomicOr(error_flag, kIndexOutOfRange);
  segment[i] = static_cast<uint32_t>(own >= 0 && own < num_segments ? own : num_segments);
  point[i] = static_cast<int32_t>(i);
}

}  // namespace

size_t build_segments_workspace_bytes(int64_t num_points) { return cut(nullptr, num_points).bytes; }

cudaError_t build_segments(const int32_t* inverse, int64_t num_points, int64_t num_segments,
                           void* workspace, int32_t* order, int32_t* offsets, int32_t* error_flag,
                           cudaStream_t stream) {
  Buffers buffers = cut(workspace, num_points);
  if (num_points > 0) {
    const cudaLaunchConfig_t config = one_thread_per(num_points, stream);
    ELITE_CUDA_TRY(cudaLaunchKernelEx(&config, segment_kernel, inverse, num_points, num_segments,
                                      buffers.segment, buffers.point, error_flag));
    const int bits = std::bit_width(static_cast<uint64_t>(num_segments));
    ELITE_CUDA_TRY(cub::DeviceRadixSort::SortPairs(
        buffers.sort_storage, buffers.sort_bytes, buffers.segment, buffers.sorted_segment,
        buffers.point, order, num_points, 0, bits, stream));
  }
  return row_offsets(buffers.sorted_segment, num_points, num_segments, offsets, stream);
}

}  // namespace elite_ops::cuda
