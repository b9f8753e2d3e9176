#include <cub/device/device_radix_sort.cuh>

#include "common/box.h"
#include "common/round_down.h"
#include "cuda/accumulate.cuh"
#include "cuda/launch.cuh"
#include "cuda/nms.h"
#include "cuda/workspace.cuh"

// The boxes, sorted by score, are cut into groups of 64. One kernel finds, for every box and every
// group, which boxes of the group it would suppress, as one word of bits; then one block walks over
// the groups and decides. Nothing of this depends on the order in which threads run.
namespace elite_ops::cuda {
namespace {

constexpr int kGroup = 64;

// The score as an unsigned integer that rises while the score falls. -0 equals 0, and NaN is last.
__device__ __forceinline__ uint32_t key_of(float score) {
  if (score != score) return ~uint32_t{0};
  const uint32_t bits = __float_as_uint(score + 0.f);
  return bits >> 31 ? bits : ~bits & (~uint32_t{0} >> 1);
}
__device__ __forceinline__ uint64_t key_of(double score) {
  if (score != score) return ~uint64_t{0};
  const auto bits = static_cast<uint64_t>(__double_as_longlong(score + 0.));
  return bits >> 63 ? bits : ~bits & (~uint64_t{0} >> 1);
}

template <typename scalar_t>
using key_t = decltype(key_of(accumulate_t<scalar_t>{}));

template <typename scalar_t>
__global__ void keys_kernel(const scalar_t* __restrict__ scores, int64_t num_boxes,
                            key_t<scalar_t>* __restrict__ keys, int32_t* __restrict__ rows) {
  const int64_t row = global_thread();
  if (row >= num_boxes) return;
  keys[row] = key_of(static_cast<accumulate_t<scalar_t>>(scores[row]));
  rows[row] = static_cast<int32_t>(row);
}

template <typename scalar_t>
__device__ Box<accumulate_t<scalar_t>> load_box(const scalar_t* __restrict__ boxes, int64_t row) {
  using accumulate = accumulate_t<scalar_t>;
  const scalar_t* box = boxes + row * 4;
  return {static_cast<accumulate>(box[0]), static_cast<accumulate>(box[1]),
          static_cast<accumulate>(box[2]), static_cast<accumulate>(box[3])};
}

// suppresses [N, num_groups]: bit j of word (i, g) says that box i of the order overlaps the later
// box 64 * g + j by more than `threshold`. One block of 64 threads for each pair of groups; words
// of groups before the box's own are never read.
template <typename scalar_t>
__global__ void suppresses_kernel(const scalar_t* __restrict__ boxes,
                                  const int32_t* __restrict__ order, int64_t num_boxes,
                                  int64_t num_groups, accumulate_t<scalar_t> threshold,
                                  uint64_t* __restrict__ suppresses) {
  using accumulate = accumulate_t<scalar_t>;
  const int64_t my_group = blockIdx.x / num_groups, group = blockIdx.x % num_groups;
  if (group < my_group) return;

  __shared__ Box<accumulate> others[kGroup];
  const int64_t begin = group * kGroup;
  const int size = static_cast<int>(min(int64_t{kGroup}, num_boxes - begin));
  const int me = static_cast<int>(threadIdx.x);
  if (me < size) others[me] = load_box(boxes, order[begin + me]);
  __syncthreads();

  const int64_t i = my_group * kGroup + me;
  if (i >= num_boxes) return;
  const Box<accumulate> box = load_box(boxes, order[i]);
  const accumulate area = box.area();
  uint64_t word = 0;
  for (int j = 0; j < size; ++j) {
    const bool is_later = begin + j > i;
    const bool is_over = iou(box, area, others[j], others[j].area()) > threshold;
    word |= static_cast<uint64_t>(is_later && is_over) << j;
  }
  suppresses[i * num_groups + group] = word;
}

// Walks over the groups, from the best scores to the worst, with one block.
__global__ void sweep_kernel(const uint64_t* __restrict__ suppresses,
                             const int32_t* __restrict__ order, int64_t num_boxes,
                             int64_t num_groups, uint64_t* __restrict__ suppressed,
                             int64_t* __restrict__ kept, int64_t* __restrict__ num_kept) {
  __shared__ uint64_t within[kGroup];
  const int me = static_cast<int>(threadIdx.x);
  for (int64_t g = me; g < num_groups; g += blockDim.x) suppressed[g] = 0;
  int64_t count = 0;
  for (int64_t group = 0; group < num_groups; ++group) {
    const int64_t begin = group * kGroup;
    const int size = static_cast<int>(min(int64_t{kGroup}, num_boxes - begin));
    if (me < size) within[me] = suppresses[(begin + me) * num_groups + group];
    __syncthreads();

    // Every thread takes the same 64 decisions; the first `size` threads write one box each.
    uint64_t is_suppressed = suppressed[group], is_kept = 0;
    for (int j = 0; j < size; ++j) {
      if (is_suppressed >> j & 1) continue;
      is_kept |= uint64_t{1} << j;
      is_suppressed |= within[j];
    }
    if (me < size && (is_kept >> me & 1)) {
      const uint64_t before = is_kept & ((uint64_t{1} << me) - 1);
      kept[count + __popcll(before)] = order[begin + me];
    }
    count += __popcll(is_kept);

    for (int64_t g = group + 1 + me; g < num_groups; g += blockDim.x) {
      uint64_t word = suppressed[g];
      for (uint64_t left = is_kept; left != 0; left &= left - 1) {
        const int j = __ffsll(static_cast<long long>(left)) - 1;
        word |= suppresses[(begin + j) * num_groups + g];
      }
      suppressed[g] = word;
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) *num_kept = count;
}

int64_t groups_of(int64_t num_boxes) { return (num_boxes + kGroup - 1) / kGroup; }

template <typename scalar_t>
struct Scratch {
  key_t<scalar_t>* keys;         // [N]
  key_t<scalar_t>* sorted_keys;  // [N] a result of the sort that nobody reads
  int32_t* rows;                 // [N]
  int32_t* order;                // [N] rows by falling score
  uint64_t* suppresses;          // [N, groups]
  uint64_t* suppressed;          // [groups]
  void* cub = nullptr;
  size_t cub_bytes = 0;

  Scratch(Workspace& workspace, int64_t num_boxes) {
    keys = workspace.take<key_t<scalar_t>>(num_boxes);
    sorted_keys = workspace.take<key_t<scalar_t>>(num_boxes);
    rows = workspace.take<int32_t>(num_boxes);
    order = workspace.take<int32_t>(num_boxes);
    suppresses = workspace.take<uint64_t>(num_boxes * groups_of(num_boxes));
    suppressed = workspace.take<uint64_t>(groups_of(num_boxes));
    // Without scratch, cub only says how much it needs; what fails here fails again in the
    // launcher.
    static_cast<void>(sort(num_boxes, nullptr));
    cub = workspace.take<unsigned char>(static_cast<int64_t>(cub_bytes));
  }

  // Stable, so that equal scores stay in the order of the rows.
  cudaError_t sort(int64_t num_boxes, cudaStream_t stream) {
    return cub::DeviceRadixSort::SortPairs(cub, cub_bytes, keys, sorted_keys, rows, order,
                                           static_cast<int>(num_boxes), 0,
                                           8 * static_cast<int>(sizeof(*keys)), stream);
  }
};

}  // namespace

template <typename scalar_t>
size_t nms_workspace_bytes(int64_t num_boxes) {
  Workspace workspace(nullptr);
  const Scratch<scalar_t> scratch(workspace, num_boxes);
  return workspace.bytes();
}

template <typename scalar_t>
cudaError_t nms(const scalar_t* boxes, const scalar_t* scores, int64_t num_boxes,
                double iou_threshold, void* workspace, int64_t* kept, int64_t* num_kept,
                cudaStream_t stream) {
  if (num_boxes == 0) return cudaSuccess;
  Workspace cutter(workspace);
  Scratch<scalar_t> scratch(cutter, num_boxes);
  const int64_t num_groups = groups_of(num_boxes);
  const auto threshold = round_down<accumulate_t<scalar_t>>(iou_threshold);
  const cudaLaunchConfig_t per_box = one_thread_per(num_boxes, stream);
  const cudaLaunchConfig_t per_pair = launch_config(num_groups * num_groups, kGroup, stream);
  const cudaLaunchConfig_t one_block = launch_config(1, kThreadsPerBlock, stream);

  ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_box, keys_kernel<scalar_t>, scores, num_boxes,
                                    scratch.keys, scratch.rows));
  ELITE_CUDA_TRY(scratch.sort(num_boxes, stream));
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_pair, suppresses_kernel<scalar_t>, boxes, scratch.order,
                                    num_boxes, num_groups, threshold, scratch.suppresses));
  return cudaLaunchKernelEx(&one_block, sweep_kernel, scratch.suppresses, scratch.order, num_boxes,
                            num_groups, scratch.suppressed, kept, num_kept);
}

#define INSTANTIATE(scalar_t)                                                                  \
  template size_t nms_workspace_bytes<scalar_t>(int64_t);                                      \
  template cudaError_t nms(const scalar_t*, const scalar_t*, int64_t, double, void*, int64_t*, \
                           int64_t*, cudaStream_t);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(__half)
INSTANTIATE(__nv_bfloat16)
#undef INSTANTIATE

}  // namespace elite_ops::cuda
