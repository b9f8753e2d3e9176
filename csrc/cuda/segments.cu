#include <algorithm>
#include <bit>
#include <cub/device/device_radix_sort.cuh>

#include "common/error_flag.h"
#include "cuda/launch.cuh"
#include "cuda/lower_bound.cuh"
#include "cuda/segments.h"
#include "cuda/workspace.cuh"

// The segments of all lists are numbered through: a list has a number for each of its segments, and
// one more for its points in none. One stable sort by this number leaves each list in its place.
namespace elite_ops::cuda {
namespace {

constexpr int kBlockNumbers = 2 * kThreadsPerBlock;  // whose offsets one block finds

struct Lists {
  int count;
  SegmentInput inputs[kMaxSegmentLists];
  int64_t first_point[kMaxSegmentLists + 1];
  int64_t first_number[kMaxSegmentLists + 1];

  Lists(const SegmentInput* all, int num_lists) : count(num_lists), first_point{}, first_number{} {
    for (int l = 0; l < num_lists; ++l) {
      inputs[l] = all[l];
      first_point[l + 1] = first_point[l] + all[l].num_points;
      first_number[l + 1] = first_number[l] + all[l].num_segments + 1;
    }
  }

  __host__ __device__ int64_t num_points() const { return first_point[count]; }
  __host__ __device__ int64_t num_numbers() const { return first_number[count]; }
};

struct Buffers {
  uint32_t* number;  // of each point's segment
  uint32_t* sorted_number;
  int32_t* point;  // within its list
  void* sort_storage;
  size_t sort_bytes;
  size_t bytes;
};

Buffers cut(void* workspace, int64_t num_points) {
  Workspace space(workspace);
  Buffers buffers{};
  buffers.number = space.take<uint32_t>(num_points);
  buffers.sorted_number = space.take<uint32_t>(num_points);
  buffers.point = space.take<int32_t>(num_points);
  cub::DeviceRadixSort::SortPairs(nullptr, buffers.sort_bytes, buffers.number,
                                  buffers.sorted_number, buffers.point, buffers.point, num_points);
  buffers.sort_storage = space.take<unsigned char>(static_cast<int64_t>(buffers.sort_bytes));
  buffers.bytes = space.bytes();
  return buffers;
}

__global__ void number_kernel(const Lists lists, uint32_t* __restrict__ number,
                              int32_t* __restrict__ point, int32_t* error_flag) {
  const int64_t i = global_thread();
  if (i >= lists.num_points()) return;
  int l = 0;
  while (i >= lists.first_point[l + 1]) ++l;
  const int64_t own_point = i - lists.first_point[l], end = lists.inputs[l].num_segments;
  const int32_t own = lists.inputs[l].inverse[own_point];
  if (own < -1 || own >= end) atomicOr(error_flag, static_cast<int32_t>(kIndexOutOfRange));
  number[i] = static_cast<uint32_t>(lists.first_number[l] + (own >= 0 && own < end ? own : end));
  point[i] = static_cast<int32_t>(own_point);
}

// A search per segment, so that none waits for another, however many are empty. Two warps first
// find where the points of the block's segments lie.
__global__ void offsets_kernel(const Lists lists, const uint32_t* __restrict__ sorted_number,
                               int32_t* __restrict__ offsets) {
  __shared__ int64_t bounds[2];
  const int64_t first = int64_t{blockIdx.x} * kBlockNumbers;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  if (warp < 2) {
    const auto number = static_cast<uint32_t>(first + warp * kBlockNumbers);
    const int64_t place = warp_lower_bound(sorted_number, 0, lists.num_points(), number);
    if (threadIdx.x % 32 == 0) bounds[warp] = place;
  }
  __syncthreads();
  const int64_t last = min(first + kBlockNumbers, lists.num_numbers());
  for (int64_t number = first + threadIdx.x; number < last; number += blockDim.x) {
    const int64_t place =
        lower_bound(sorted_number, bounds[0], bounds[1], static_cast<uint32_t>(number));
    int l = 0;
    while (number >= lists.first_number[l + 1]) ++l;
    offsets[number] = static_cast<int32_t>(place - lists.first_point[l]);
  }
}

// Sets `is_bad` and the flag where offsets are none.
__global__ void check_offsets_kernel(const int64_t* __restrict__ csr_offsets, int64_t num_points,
                                     int64_t num_segments, int32_t* is_bad, int32_t* error_flag) {
  const int64_t v = global_thread();
  if (v > num_segments) return;
  const int64_t own = csr_offsets[v], before = v == 0 ? 0 : csr_offsets[v - 1];
  if (own >= before && own <= num_points && (v > 0 || own == 0)) return;
  *is_bad = 1;
  atomicOr(error_flag, static_cast<int32_t>(kIndexOutOfRange));
}

// A point finds its segment, and takes no part where the offsets are bad.
__global__ void from_csr_kernel(const int64_t* __restrict__ csr_offsets, int64_t num_points,
                                int64_t num_segments, const int32_t* __restrict__ is_bad,
                                int32_t* __restrict__ inverse, int32_t* __restrict__ order,
                                int32_t* __restrict__ offsets) {
  const int64_t i = global_thread();
  const bool is_good = *is_bad == 0;
  if (i <= num_segments) offsets[i] = is_good ? static_cast<int32_t>(csr_offsets[i]) : 0;
  if (i >= num_points) return;
  int64_t segment = -1;
  if (is_good && i < csr_offsets[num_segments]) {
    segment = lower_bound(csr_offsets, 0, num_segments + 1, i + 1) - 1;
  }
  inverse[i] = static_cast<int32_t>(segment);
  order[i] = static_cast<int32_t>(i);
}

}  // namespace

size_t build_segments_workspace_bytes(int64_t num_points) { return cut(nullptr, num_points).bytes; }

cudaError_t build_segments(const SegmentInput* inputs, int num_lists, void* workspace,
                           int32_t* order, int32_t* offsets, int32_t* error_flag,
                           cudaStream_t stream) {
  if (num_lists == 0) return cudaSuccess;
  const Lists lists(inputs, num_lists);
  const int64_t num_points = lists.num_points(), num_numbers = lists.num_numbers();
  Buffers buffers = cut(workspace, num_points);
  if (num_points > 0) {
    const cudaLaunchConfig_t per_point = one_thread_per(num_points, stream);
    ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_point, number_kernel, lists, buffers.number,
                                      buffers.point, error_flag));
    const int bits =
        std::max(1, static_cast<int>(std::bit_width(static_cast<uint64_t>(num_numbers - 1))));
    ELITE_CUDA_TRY(cub::DeviceRadixSort::SortPairs(
        buffers.sort_storage, buffers.sort_bytes, buffers.number, buffers.sorted_number,
        buffers.point, order, num_points, 0, bits, stream));
  }
  const int64_t blocks = (num_numbers + kBlockNumbers - 1) / kBlockNumbers;
  const cudaLaunchConfig_t per_numbers = launch_config(blocks, kThreadsPerBlock, stream);
  return cudaLaunchKernelEx(&per_numbers, offsets_kernel, lists,
                            static_cast<const uint32_t*>(buffers.sorted_number), offsets);
}

cudaError_t segments_from_csr(const int64_t* csr_offsets, int64_t num_points, int64_t num_segments,
                              int32_t* is_bad, int32_t* inverse, int32_t* order, int32_t* offsets,
                              int32_t* error_flag, cudaStream_t stream) {
  ELITE_CUDA_TRY(cudaMemsetAsync(is_bad, 0, sizeof(*is_bad), stream));
  const cudaLaunchConfig_t per_offset = one_thread_per(num_segments + 1, stream);
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_offset, check_offsets_kernel, csr_offsets, num_points,
                                    num_segments, is_bad, error_flag));
  const cudaLaunchConfig_t per_both =
      one_thread_per(std::max(num_points, num_segments + 1), stream);
  return cudaLaunchKernelEx(&per_both, from_csr_kernel, csr_offsets, num_points, num_segments,
                            static_cast<const int32_t*>(is_bad), inverse, order, offsets);
}

}  // namespace elite_ops::cuda
