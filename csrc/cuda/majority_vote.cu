#include "common/error_flag.h"
#include "cuda/dynamic_shared.cuh"
#include "cuda/majority_vote.h"
#include "cuda/row_groups.cuh"

namespace elite_ops::cuda {
namespace {

constexpr int kWarpSize = 32;
constexpr int kWarpsPerBlock = kThreadsPerBlock / kWarpSize;
constexpr unsigned kWholeWarp = 0xffffffffu;
constexpr int64_t kMostClassesAtOnce = 1024;  // 32 KiB of counters a block

// A candidate as one number: more votes make it larger, and of equally many the smaller label.
__device__ __forceinline__ uint64_t candidate(int32_t votes, int64_t label) {
  return static_cast<uint64_t>(votes) << 32 | (0xffffffffu - static_cast<uint32_t>(label));
}
__device__ __forceinline__ int64_t label_of(uint64_t candidate) {
  return 0xffffffffu - static_cast<uint32_t>(candidate);
}

// Counts the votes of entries [begin, end) for the classes from `first_class` on, `num_counted` of
// them, and returns this lane's best candidate. Called by a whole warp, for the warp's counters.
__device__ uint64_t count_votes(const int64_t* __restrict__ labels,
                                const int32_t* __restrict__ points, int32_t begin, int32_t end,
                                int64_t first_class, int num_counted, int lane, int32_t* votes) {
  for (int c = lane; c < num_counted; c += kWarpSize) votes[c] = 0;
  __syncwarp();
  for (int32_t e = begin + lane; e < end; e += kWarpSize) {
    const int64_t label = labels[points[e]] - first_class;
    if (label >= 0 && label < num_counted) atomicAdd(&votes[label], 1);
  }
  __syncwarp();
  uint64_t best = 0;
  for (int c = lane; c < num_counted; c += kWarpSize) {
    if (votes[c] > 0) best = max(best, candidate(votes[c], first_class + c));
  }
  return best;  // no barrier before the next call: a lane reads and clears the same counters
}

// The smallest label of entries [begin, end) from `from` on, else `num_classes`. Called by a whole
// warp.
__device__ int64_t next_label(const int64_t* __restrict__ labels,
                              const int32_t* __restrict__ points, int32_t begin, int32_t end,
                              int64_t from, int64_t num_classes, int lane) {
  int64_t next = num_classes;
  for (int32_t e = begin + lane; e < end; e += kWarpSize) {
    const int64_t label = labels[points[e]];
    if (label >= from && label < next) next = label;
  }
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
    next = min(next, __shfl_xor_sync(kWholeWarp, next, offset));
  }
  return next;
}

__global__ void majority_vote_kernel(const int64_t* __restrict__ labels, Csr segments,
                                     int64_t num_classes, int64_t classes_at_once,
                                     int64_t ignore_label, int64_t* __restrict__ out,
                                     int32_t* error_flag) {
  const RowGroup place(kWarpSize);
  const int64_t segment = place.row();
  if (segment >= segments.rows) return;
  int32_t* votes = dynamic_shared<int32_t>() + place.group * classes_at_once;
  const int32_t begin = segments.offsets[segment], end = segments.offsets[segment + 1];
  for (int32_t e = begin + place.lane; e < end; e += kWarpSize) {
    const int64_t label = labels[segments.columns[e]];
    if (label < 0 || label >= num_classes) atomicOr(error_flag, kLabelOutOfRange);
  }
  uint64_t best = 0;
  const bool at_once = num_classes <= classes_at_once;
  for (int64_t first = 0; first < num_classes; first += classes_at_once) {
    if (!at_once) {  // passes over what nobody votes for
      first = next_label(labels, segments.columns, begin, end, first, num_classes, place.lane);
      if (first >= num_classes) break;
    }
    const int num_counted = static_cast<int>(min(classes_at_once, num_classes - first));
    best = max(best, count_votes(labels, segments.columns, begin, end, first, num_counted,
                                 place.lane, votes));
  }
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
    best = max(best, __shfl_xor_sync(kWholeWarp, best, offset));
  }
  if (place.lane == 0) out[segment] = best == 0 ? ignore_label : label_of(best);
}

}  // namespace

cudaError_t majority_vote(const int64_t* labels, const Csr& segments, int64_t num_classes,
                          int64_t ignore_label, int64_t* out, int32_t* error_flag,
                          cudaStream_t stream) {
  if (segments.rows == 0) return cudaSuccess;
  const int64_t classes_at_once = std::min(num_classes, kMostClassesAtOnce);
  cudaLaunchConfig_t config = one_group_per(segments.rows, kWarpSize, stream);
  config.dynamicSmemBytes = sizeof(int32_t) * kWarpsPerBlock * classes_at_once;
  return cudaLaunchKernelEx(&config, majority_vote_kernel, labels, segments, num_classes,
                            classes_at_once, ignore_label, out, error_flag);
}

}  // namespace elite_ops::cuda
