// Gathered rows of features in the operand registers of tensor-core products.
//
// Products are transposed: the weights are the first operand, 16 output channels each, and the
// gathered rows the second, in tiles of 8 rows. Of that one a lane holds neighbouring registers of
// one row. The order in which a product adds channels is free, as long as both operands keep to it:
// a lane loads neighbouring channels of its row, 16 bytes at a time, and takes them for those that
// the fragment layout (mma.cuh) asks of it. Lane t of a quad holds bytes 16 * t to 16 * t + 15 of
// each 64 bytes of a row (8 * t to 8 * t + 7 of 32 where a chunk is that small), and words 2 * s
// and 2 * s + 1 of what it holds are its k indices of product s. The lanes that read the weights
// look for these channels.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "mma.cuh"
#include "mma_sizes.cuh"

namespace elite_ops::cuda::tensor_core {

constexpr int kQuad = 4;              // lanes that hold a row
constexpr int kTileRows = 8;          // rows of a product
constexpr int kMostChunkBytes = 128;  // of a row, that a step multiplies
constexpr int kBytesPerWord = 4;

// Bytes that a lane loads at a time.
template <int kChunkBytes>
constexpr int kLoadBytes = kChunkBytes < kQuad * 16 ? kChunkBytes / kQuad : 16;

// The channel of a chunk at k index `k` of its products, counted through.
template <typename T, int kChunkBytes>
__device__ __forceinline__ constexpr int channel_of(int k) {
  constexpr int kPerWord = kBytesPerWord / static_cast<int>(sizeof(T));
  constexpr int kBytes = kLoadBytes<kChunkBytes>;
  const int element = k % kPerWord, quad_lane = k / kPerWord % kQuad;
  const int first_byte = k / (kQuad * kPerWord) * kBytesPerWord;  // of what the lane holds
  const int byte = (first_byte / kBytes * kQuad + quad_lane) * kBytes + first_byte % kBytes;
  return byte / static_cast<int>(sizeof(T)) + element;
}

// Keeps nvcc from taking an address apart, to add its parts anew at every use.
template <typename T>
__device__ __forceinline__ T* opaque(T* address) {
#ifdef __CUDACC__
  asm("" : "+l"(address));
#endif
  return address;
}

// What missing rows read.
static __device__ uint4 zero_row[kMostChunkBytes / sizeof(uint4)];

// The rows of a warp's tiles in registers, a chunk at a time.
template <typename T, int kRowTiles, int kChunkBytes>
class GatheredRowTiles {
 public:
  static constexpr int kSteps = kChunkBytes / kPartBytes;  // products along a chunk
  static constexpr int kLoads = kChunkBytes / (kQuad * kLoadBytes<kChunkBytes>);
  static constexpr int kStepsPerLoad = kSteps / kLoads;

  // Names the rows that the loads from now on read, one of each tile; -1 reads zeros.
  __device__ __forceinline__ void aim(const T* features, uint32_t row_bytes,
                                      const int32_t (&rows)[kRowTiles], int lane) {
    const int place = lane % kQuad * kLoadBytes<kChunkBytes>;
    const char* base = opaque(reinterpret_cast<const char*>(features) + place);
    const char* zeros = reinterpret_cast<const char*>(zero_row) + place;
#pragma unroll
    for (int tile = 0; tile < kRowTiles; ++tile) {
      const char* from = base + uint64_t{static_cast<uint32_t>(rows[tile])} * row_bytes;
      from_[tile] = rows[tile] >= 0 ? from : zeros;
    }
  }

  __device__ __forceinline__ void load(int i) {
#pragma unroll
    for (int tile = 0; tile < kRowTiles; ++tile) {
      const char* from = from_[tile] + i * kQuad * kLoadBytes<kChunkBytes>;
      if constexpr (kLoadBytes<kChunkBytes> == sizeof(uint4)) {
        words_[tile][i] = __ldg(reinterpret_cast<const uint4*>(from));
      } else {
        const uint2 pair = __ldg(reinterpret_cast<const uint2*>(from));
        words_[tile][i] = {pair.x, pair.y, 0, 0};
      }
    }
  }

  __device__ __forceinline__ void load_all() {
#pragma unroll
    for (int i = 0; i < kLoads; ++i) load(i);
  }

  // The operand of product `step` of a tile.
  __device__ __forceinline__ void fragment(int tile, int step, uint32_t (&b)[2]) const {
    const uint4& words = words_[tile][step / 2];
    b[0] = step % 2 == 0 ? words.x : words.z;
    b[1] = step % 2 == 0 ? words.y : words.w;
    if constexpr (sizeof(T) == 4) {
      b[0] = to_tf32(__uint_as_float(b[0]));
      b[1] = to_tf32(__uint_as_float(b[1]));
    }
  }

 private:
  const char* from_[kRowTiles];
  uint4 words_[kRowTiles][kLoads];
};

}  // namespace elite_ops::cuda::tensor_core
