// An occupancy bitmap whose set bits are numbered: membership and row number of a key in O(1).
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/workspace.cuh"

namespace elite_ops::cuda {

struct RankedBitmap {
  unsigned long long* words;  // [num_words]
  uint32_t* ranks;            // [num_words + 1]: set bits in the words before, modulo 2^32
  int64_t num_words;
  void* scan_scratch;
  size_t scan_bytes;

  static __device__ unsigned long long bit(int64_t key) { return 1ull << (key & 63); }

  __device__ bool contains(int64_t key) const { return (words[key >> 6] & bit(key)) != 0; }

  // Sets the bit of a key, which is not negative; returns whether it was set before.
  __device__ bool mark(int64_t key) const {
    return (atomicOr(&words[key >> 6], bit(key)) & bit(key)) != 0;
  }

  // How many bits are set before this key's.
  __device__ uint32_t rank(int64_t key) const {
    return ranks[key >> 6] + __popcll(words[key >> 6] & (bit(key) - 1));
  }
};

// Takes the bitmap and its scratch from `workspace`.
RankedBitmap take_bitmap(Workspace& workspace, int64_t num_words);

cudaError_t clear(const RankedBitmap& bitmap, cudaStream_t stream);

// Computes the ranks once all bits are set.
cudaError_t rank_words(const RankedBitmap& bitmap, cudaStream_t stream);

}  // namespace elite_ops::cuda
