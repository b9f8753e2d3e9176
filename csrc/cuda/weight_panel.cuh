// Chunks of weights in shared memory, and their products with rows in registers
// (gathered_rows.cuh).
#pragma once

#include <cstdint>

#include "async_copy.cuh"
#include "gathered_rows.cuh"
#include "sparse_conv_steps.cuh"

namespace elite_ops::cuda::tensor_core {

constexpr int kColumns = 64;       // output channels of a panel
constexpr int kTileChannels = 16;  // output channels of a product
constexpr int kTilesPerPanel = kColumns / kTileChannels;

template <typename T>
constexpr int kVectors = kColumns / kPerVector<T>;  // 16-byte vectors of a row of a panel

// The sums of a warp: of kTileChannels channels and kTileRows rows each.
template <int kRowTiles>
using PanelSums = float[kTilesPerPanel][kRowTiles][4];

// Where column `column` of channel `channel` lies in a panel of weights: the channels that the
// lanes read together lie in different banks. Those of all steps are swizzled alike.
template <typename T, int kChunkBytes>
__device__ __forceinline__ int panel_place(int channel, int column) {
  constexpr int kPerLoad = kLoadBytes<kChunkBytes> / static_cast<int>(sizeof(T));
  const int quad_lane = channel / kPerLoad % kQuad;
  // 16-bit: ldmatrix reads 16 bytes of 8 channels, 2 of each lane of a quad. Float: 8 columns of 4
  // channels, 1 of each.
  const int key = sizeof(T) == 2 ? quad_lane * 2 + channel % 2 : quad_lane * 2;
  const int vector = column / kPerVector<T> ^ key;
  return channel * kColumns + vector * kPerVector<T> + column % kPerVector<T>;
}

// Copies chunks of weights to panels: a row for each input channel, swizzled.
template <typename T, int kChunkBytes, int kThreads>
class WeightPanel {
 public:
  static constexpr int kChunk = kChunkBytes / static_cast<int>(sizeof(T));
  static constexpr int kElements = kChunk * kColumns;

  __device__ __forceinline__ WeightPanel(const ChunkedShape& shape, int first_column)
      : row_bytes_(shape.weight_row_bytes) {
    const int place = static_cast<int>(threadIdx.x % kVectors<T> * kPerVector<T>);
    const int channel = channel_of<T, kChunkBytes>(static_cast<int>(threadIdx.x / kVectors<T>));
    const auto column = static_cast<uint32_t>(first_column + place);
    exists_ = column < shape.c_out;
    from_ = exists_ ? channel * row_bytes_ + column * static_cast<uint32_t>(sizeof(T)) : 0;
    to_ = panel_place<T, kChunkBytes>(channel, place);
  }

  // Starts the copy of the chunk whose first row is at `weight`; columns that don't exist become
  // zero.
  __device__ __forceinline__ void load(const T* weight, T* to) const {
    if (kChannelsAtOnce > kChunk && threadIdx.x >= kChunk * kVectors<T>) return;
    const char* from = reinterpret_cast<const char*>(weight) + from_;
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      const int channel = channel_of<T, kChunkBytes>(i * kChannelsAtOnce);  // from the first on
      cp_async_16(&to[to_ + channel * kColumns], from + (exists_ ? channel * row_bytes_ : 0),
                  exists_);
    }
  }

 private:
  static constexpr int kChannelsAtOnce = kThreads / kVectors<T>;
  static constexpr int kCopies = kChannelsAtOnce < kChunk ? kChunk / kChannelsAtOnce : 1;
  static_assert(kThreads % kVectors<T> == 0 && kChannelsAtOnce >= 8);  // then swizzled alike

  uint32_t row_bytes_, from_;
  int to_;
  bool exists_;
};

// A lane's part of a panel, as first operands: rows of an operand are columns of the panel.
template <typename T, int kChunkBytes>
class WeightTiles {
 public:
  __device__ __forceinline__ WeightTiles(const T* panel, int lane) : panel_(panel) {
    const int k = sizeof(T) == 2 ? lane / 16 * 8 + lane % 8 : lane % kQuad;
    const int column = sizeof(T) == 2 ? lane / 8 % 2 * 8 : lane / kQuad;
#pragma unroll
    for (int i = 0; i < kPlaces; ++i) {
      places_[i] = panel_place<T, kChunkBytes>(channel_of<T, kChunkBytes>(k + i * kQuad), column);
    }
  }

  // Of product `step` and the output channels of tile `tile`. Columns are swizzled by an exclusive
  // or, and so is the way from tile to tile.
  __device__ __forceinline__ void load(int step, int tile, uint32_t (&a)[4]) const {
    const T* first = panel_ + channel_of<T, kChunkBytes>(step * kPartRows<T>) * kColumns;
    const int columns = tile * kTileChannels;
    if constexpr (sizeof(T) == 2) {
      ldmatrix_x4_trans(a, &first[places_[0] ^ columns]);
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) a[i] = to_tf32(first[places_[i / 2] ^ (columns + i % 2 * 8)]);
    }
  }

 private:
  static constexpr int kPlaces =
      sizeof(T) == 2 ? 1 : 2;  // that the lane names to ldmatrix, or loads

  const T* panel_;
  int places_[kPlaces];
};

// sums += a chunk of weights * the rows at hand, while the rows that are aimed at are loaded.
template <typename T, int kRowTiles, int kChunkBytes>
__device__ __forceinline__ void multiply_step(GatheredRowTiles<T, kRowTiles, kChunkBytes>& rows,
                                              const T* panel, int lane,
                                              PanelSums<kRowTiles>& sums) {
  using Rows = GatheredRowTiles<T, kRowTiles, kChunkBytes>;
  const WeightTiles<T, kChunkBytes> tiles(panel, lane);
#pragma unroll
  for (int step = 0; step < Rows::kSteps; ++step) {
#pragma unroll
    for (int tile = 0; tile < kTilesPerPanel; ++tile) {
      uint32_t a[4];
      tiles.load(step, tile, a);
#pragma unroll
      for (int r = 0; r < kRowTiles; ++r) {
        uint32_t b[2];
        rows.fragment(r, step, b);
        if constexpr (sizeof(T) == 2) {
          mma_m16n8k16<T>(sums[tile][r], a, b);
        } else {
          mma_m16n8k8(sums[tile][r], a, b);
        }
      }
    }
    if ((step + 1) % Rows::kStepsPerLoad == 0) rows.load(step / Rows::kStepsPerLoad);
  }
}

}  // namespace elite_ops::cuda::tensor_core
