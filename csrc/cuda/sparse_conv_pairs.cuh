// The pairs that a neighbour table names, offset by offset, and how they are dealt to blocks: by
// their number alone, so that sums are cut at the same places on every device.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "async_copy.cuh"
#include "common/sparse_conv_types.h"

namespace elite_ops::cuda {

constexpr int kMaxSegments = 32;     // of an offset: a warp holds what it knows about them
constexpr int kMinSharePairs = 256;  // of a share, where there are as many
constexpr int kListedPairs = 2048;   // that a block keeps in shared memory

// A pair is (input row, output row). Pairs of an offset are in the order of their output rows.
struct PairLists {
  int32_t num_offsets;
  int32_t segments;  // at most kMaxSegments
  int64_t num_out;
  int64_t segment_rows;  // output rows of a segment
  int32_t* counts;       // [segments, num_offsets] pairs
  int2* pairs;           // [num_offsets, num_out]: of a segment, those at its first row and behind
};

// Fills `lists`.
cudaError_t list_pairs(const SparseConvShape& shape, const int32_t* neighbors,
                       const PairLists& lists, int32_t* error_flag, cudaStream_t stream);

// A block's share of the pairs of one offset.
struct Share {
  int32_t offset;       // -1: there is none
  int32_t first_share;  // of this offset
  int32_t count;        // shares of this offset
  int32_t begin, end;   // pairs of the offset
};

// The sum over this lane and those below it.
__device__ __forceinline__ int32_t sum_up_to(int32_t value, int lane) {
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const int32_t below = __shfl_up_sync(0xffffffffu, value, distance);
    if (lane >= distance) value += below;
  }
  return value;
}

__device__ __forceinline__ int64_t warp_total(int64_t value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, distance);
  }
  return value;
}

// The pairs of offset `k`, 0 past the last offset.
__device__ __forceinline__ int32_t pairs_of(const PairLists& lists, int32_t k) {
  if (k >= lists.num_offsets) return 0;
  int32_t sum = 0;
#pragma unroll 8
  for (int32_t s = 0; s < lists.segments; ++s) sum += lists.counts[s * lists.num_offsets + k];
  return sum;
}

// All offsets together have `wanted` shares, and up to one an offset more. An offset without pairs
// has an empty one. Called by whole warps.
__device__ __forceinline__ Share find_share(const PairLists& lists, int32_t wanted, int32_t share) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int32_t of_first = pairs_of(lists, lane);
  int64_t all = of_first;
  for (int32_t k = 32 + lane; k < lists.num_offsets; k += 32) all += pairs_of(lists, k);
  all = (warp_total(all) + wanted - 1) / wanted;
  const auto share_pairs = static_cast<uint32_t>(all < kMinSharePairs ? kMinSharePairs
                                                 : all < INT32_MAX    ? all
                                                                      : INT32_MAX);

  int32_t first_share = 0;
  for (int32_t base = 0; base < lists.num_offsets; base += 32) {
    const auto pairs = static_cast<uint32_t>(base == 0 ? of_first : pairs_of(lists, base + lane));
    const auto full = static_cast<int32_t>((pairs + share_pairs - 1) / share_pairs);
    const int32_t count = base + lane >= lists.num_offsets ? 0 : full == 0 ? 1 : full;
    const int32_t end = first_share + sum_up_to(count, lane);
    const unsigned here = __ballot_sync(0xffffffffu, share < end);
    if (here != 0) {
      const int owner = __ffs(static_cast<int>(here)) - 1;
      const auto of_offset = __shfl_sync(0xffffffffu, pairs, owner);
      const int32_t shares = __shfl_sync(0xffffffffu, count, owner);
      const int32_t first = __shfl_sync(0xffffffffu, end, owner) - shares;
      const uint32_t even = (of_offset + shares - 1) / shares;
      const auto begin_of = [&](uint32_t place) {
        return static_cast<int32_t>(even * place < of_offset ? even * place : of_offset);
      };
      return {base + owner, first, shares, begin_of(share - first), begin_of(share - first + 1)};
    }
    first_share = __shfl_sync(0xffffffffu, end, 31);
  }
  return {-1, 0, 0, 0, 0};
}

// Where the segments of one offset end among its pairs, a lane each.
struct Segments {
  int32_t end;

  __device__ __forceinline__ Segments(const PairLists& lists, int32_t offset) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int32_t count =
        lane < lists.segments ? lists.counts[lane * lists.num_offsets + offset] : 0;
    end = sum_up_to(count, lane);
  }

  // Starts copies of the pairs [first, last) of the offset to shared memory. Called by all threads
  // of the block.
  template <int kThreads>
  __device__ __forceinline__ void copy(const PairLists& lists, int32_t offset, int32_t first,
                                       int32_t last, int2* to) const {
    const int thread = static_cast<int>(threadIdx.x);
    const int32_t below = __shfl_up_sync(0xffffffffu, end, 1);
    const int32_t begin = thread % 32 == 0 ? 0 : below;
    unsigned meeting = __ballot_sync(0xffffffffu, begin < last && end > first);
    for (; meeting != 0; meeting &= meeting - 1) {
      const int segment = __ffs(static_cast<int>(meeting)) - 1;
      const int32_t from = __shfl_sync(0xffffffffu, begin, segment);
      const int32_t until = __shfl_sync(0xffffffffu, end, segment);
      const int2* pairs = lists.pairs + offset * lists.num_out + segment * lists.segment_rows;
      const int32_t stop = until < last ? until : last;
      for (int32_t p = (from > first ? from : first) + thread; p < stop; p += kThreads) {
        cp_async_4(&to[p - first].x, &pairs[p - from].x);
        cp_async_4(&to[p - first].y, &pairs[p - from].y);
      }
    }
  }
};

// Lists the pairs [first, last) of the offset, then (-1, -1) for another kPadding. Starts and ends
// with a barrier.
template <int kThreads, int kPadding>
__device__ __forceinline__ void list_share(const PairLists& lists, const Segments& segments,
                                           int32_t offset, int32_t first, int32_t last, int2* to) {
  static_assert(kPadding <= kThreads);
  __syncthreads();
  segments.copy<kThreads>(lists, offset, first, last, to);
  cp_async_commit();
  if (threadIdx.x < kPadding) to[last - first + threadIdx.x] = make_int2(-1, -1);
  cp_async_wait<0>();
  __syncthreads();
}

}  // namespace elite_ops::cuda
