// Lists the pairs of a neighbour table: a block takes a segment of one offset's output rows.
#include "launch.cuh"
#include "sparse_conv_pairs.cuh"
#include "sparse_conv_rows.cuh"

namespace elite_ops::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kRowsPerThread = 8;  // loaded together
constexpr int kTurnRows = kThreads * kRowsPerThread;
constexpr int kGroups = kWarps * kRowsPerThread;  // of 32 rows, in a turn
static_assert(kGroups == 64);

__global__ void __launch_bounds__(kThreads)
    list_kernel(const SparseConvShape shape, const int32_t* __restrict__ neighbors,
                const PairLists lists, int32_t* error_flag) {
  __shared__ int32_t counts[kGroups];
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  const int64_t k = blockIdx.x / lists.segments, segment = blockIdx.x % lists.segments;
  const int64_t begin = segment * lists.segment_rows;
  const int64_t behind = begin + lists.segment_rows;
  const int64_t end = behind < shape.num_out ? behind : shape.num_out;
  int2* const pairs = lists.pairs + k * shape.num_out + begin;
  int32_t total = 0;
  bool outside = false;

  for (int64_t first = begin; first < end; first += kTurnRows) {
    int32_t rows[kRowsPerThread];
    unsigned valid[kRowsPerThread];
#pragma unroll
    for (int j = 0; j < kRowsPerThread; ++j) {
      const int64_t i = first + j * kThreads + thread;
      rows[j] = i < end ? neighbors[k * shape.num_out + i] : -1;
    }
#pragma unroll
    for (int j = 0; j < kRowsPerThread; ++j) {
      const bool is_wrong = rows[j] < -1 || rows[j] >= shape.num_in;
      outside |= is_wrong;
      if (is_wrong) rows[j] = -1;
      valid[j] = __ballot_sync(0xffffffffu, rows[j] >= 0);
      if (lane == 0) counts[j * kWarps + warp] = __popc(valid[j]);
    }
    __syncthreads();
    const int32_t low = sum_up_to(counts[lane], lane);
    const int32_t high = sum_up_to(counts[32 + lane], lane);
    const int32_t in_low = __shfl_sync(0xffffffffu, low, 31);
#pragma unroll
    for (int j = 0; j < kRowsPerThread; ++j) {
      const int group = j * kWarps + warp;
      const int32_t up_to = group < 32 ? __shfl_sync(0xffffffffu, low, group)
                                       : in_low + __shfl_sync(0xffffffffu, high, group - 32);
      const int32_t place =
          total + up_to - __popc(valid[j]) + __popc(valid[j] & ((1u << lane) - 1));
      if (rows[j] >= 0) {
        pairs[place] = make_int2(rows[j], static_cast<int32_t>(first) + j * kThreads + thread);
      }
    }
    total += in_low + __shfl_sync(0xffffffffu, high, 31);
    __syncthreads();  // before the counts are written again
  }
  if (thread == 0) lists.counts[segment * lists.num_offsets + k] = total;
  report_if(outside, error_flag);
}

}  // namespace

cudaError_t list_pairs(const SparseConvShape& shape, const int32_t* neighbors,
                       const PairLists& lists, int32_t* error_flag, cudaStream_t stream) {
  const cudaLaunchConfig_t config =
      launch_config(shape.num_offsets * lists.segments, kThreads, stream);
  return cudaLaunchKernelEx(&config, list_kernel, shape, neighbors, lists, error_flag);
}

}  // namespace elite_ops::cuda
