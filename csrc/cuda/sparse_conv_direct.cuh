// The parts of sparse_conv_direct.cu: gathered rows in the operand registers of products, and
// weights in shared memory.
//
// Products are transposed: the weights are the first operand, 16 output channels a tile, and the
// gathered rows the second, 8 rows a tile. Of that one a lane holds neighbouring registers of one
// row. The order in which a product adds channels is free, as long as both operands keep to it: a
// lane loads neighbouring channels of its row, 16 bytes at a time, and takes them for those that
// the fragment layout (mma.cuh) asks of it. Lane t of a quad holds bytes 16 * t to 16 * t + 15 of
// each 64 bytes of a row (8 * t to 8 * t + 7 of 32 where a chunk is that small), and words 2 * s
// and 2 * s + 1 of what it holds are its k indices of product s. The lanes that read the weights
// look for these channels.
#pragma once

#include <cstdint>

#include "async_copy.cuh"
#include "mma.cuh"
#include "sparse_conv_slab.cuh"
#include "sparse_conv_tile.cuh"

namespace elite_ops::cuda::tensor_core {

// Bytes that a lane loads at a time.
template <int kChunkBytes>
constexpr int kLoadBytes = kChunkBytes < 64 ? kChunkBytes / 4 : 16;

// The channel of a chunk at k index `k` of its products, counted through.
template <typename T, int kChunkBytes>
__device__ __forceinline__ constexpr int channel_of(int k) {
  constexpr int kPerWord = 4 / static_cast<int>(sizeof(T)), kBytes = kLoadBytes<kChunkBytes>;
  const int element = k % kPerWord, quad_lane = k / kPerWord % 4, word = k / (4 * kPerWord);
  const int load = word * 4 / kBytes, byte = (load * 4 + quad_lane) * kBytes + word * 4 % kBytes;
  return byte / static_cast<int>(sizeof(T)) + element;
}

// Where column `column` of channel `channel` lies in a panel of weights: the channels that the
// lanes read together lie in different banks. Those of all steps are swizzled alike.
template <typename T, int kChunkBytes>
__device__ __forceinline__ int panel_place(int channel, int column) {
  constexpr int kPerLoad = kLoadBytes<kChunkBytes> / static_cast<int>(sizeof(T));
  const int quad_lane = channel / kPerLoad % 4;
  // 16-bit: ldmatrix reads 16 bytes of 8 channels, 2 of each lane of a quad. Float: 8 columns of 4
  // channels, 1 of each.
  const int key = sizeof(T) == 2 ? quad_lane * 2 + channel % 2 : quad_lane * 2;
  const int vector = column / kPerVector<T> ^ key;
  return channel * kColumns + vector * kPerVector<T> + column % kPerVector<T>;
}

// A shape in chunks of input channels, with the products that the main loop would repeat.
struct ChunkedShape {
  int offsets;  // the shortcut's among them
  int num_offsets;
  int chunks, shortcut_chunks;             // of a row of features
  uint32_t row_bytes, shortcut_row_bytes;  // likewise
  uint32_t chunk_channels_bytes;           // of a chunk in features
  uint32_t c_out, weight_row_bytes, weight_chunk_bytes;

  template <typename T>
  ChunkedShape(const SparseConvArguments<T>& args, int chunk)
      : offsets(static_cast<int>(offsets_of(args))),
        num_offsets(static_cast<int>(args.shape.num_offsets)),
        chunks(static_cast<int>(args.shape.c_in) / chunk),
        shortcut_chunks(static_cast<int>(args.shortcut.channels) / chunk),
        row_bytes(static_cast<uint32_t>(args.shape.c_in * sizeof(T))),
        shortcut_row_bytes(static_cast<uint32_t>(args.shortcut.channels * sizeof(T))),
        chunk_channels_bytes(static_cast<uint32_t>(chunk * sizeof(T))),
        c_out(static_cast<uint32_t>(args.shape.c_out)),
        weight_row_bytes(static_cast<uint32_t>(args.shape.c_out * sizeof(T))),
        weight_chunk_bytes(weight_row_bytes * static_cast<uint32_t>(chunk)) {}
};

// Where a walk over the steps of a batch of offsets stands: a chunk of input channels under the
// first of the offsets that remain.
struct Cursor {
  uint32_t remaining;  // offsets, as bits
  int chunk;

  __device__ __forceinline__ int place() const {  // 1 + the offset; 0 at the end
    return __ffs(static_cast<int>(remaining));
  }
};

// All of `count` offsets, as bits.
__device__ __forceinline__ uint32_t all_offsets(int count) {
  return count < 32 ? (1u << count) - 1 : 0xffffffffu;
}

// The steps of a batch of offsets.
class StepCounter {
 public:
  __device__ __forceinline__ StepCounter(const ChunkedShape& shape, int first_offset)
      : shape_(shape), shortcut_(shape.num_offsets - first_offset) {}

  __device__ __forceinline__ void advance(Cursor& cursor) const {
    const int chunks = is_shortcut(cursor) ? shape_.shortcut_chunks : shape_.chunks;
    if (++cursor.chunk < chunks) return;
    cursor.chunk = 0;
    cursor.remaining &= cursor.remaining - 1;
  }

  // How many steps of `mask` come before this one; all at the end.
  __device__ __forceinline__ int steps_before(uint32_t mask, const Cursor& cursor) const {
    const uint32_t before = mask & ((cursor.remaining & -cursor.remaining) - 1);
    const int steps = __popc(before) * shape_.chunks + cursor.chunk;
    const bool after_shortcut = shortcut_ >= 0 && shortcut_ < 32 && (before >> shortcut_ & 1);
    return after_shortcut ? steps + shape_.shortcut_chunks - shape_.chunks : steps;
  }

  template <typename T>
  __device__ __forceinline__ const T* weight(const SparseConvArguments<T>& args, int first_offset,
                                             const Cursor& cursor) const {
    const auto* weight = reinterpret_cast<const char*>(args.weight);
    auto chunk = static_cast<uint32_t>((first_offset + cursor.place() - 1) * shape_.chunks);
    if (is_shortcut(cursor)) {
      weight = reinterpret_cast<const char*>(args.shortcut.weight);
      chunk = 0;
    }
    chunk += static_cast<uint32_t>(cursor.chunk);
    return reinterpret_cast<const T*>(weight + uint64_t{chunk} * shape_.weight_chunk_bytes);
  }

  template <typename T>
  __device__ __forceinline__ const T* features(const SparseConvArguments<T>& args,
                                               const Cursor& cursor) const {
    const T* features = is_shortcut(cursor) ? args.shortcut.features : args.features;
    return reinterpret_cast<const T*>(reinterpret_cast<const char*>(features) +
                                      uint32_t(cursor.chunk) * shape_.chunk_channels_bytes);
  }

  __device__ __forceinline__ uint32_t row_bytes(const Cursor& cursor) const {
    return is_shortcut(cursor) ? shape_.shortcut_row_bytes : shape_.row_bytes;
  }

 private:
  __device__ __forceinline__ bool is_shortcut(const Cursor& cursor) const {
    return cursor.place() == shortcut_ + 1;
  }

  const ChunkedShape& shape_;
  int shortcut_;  // its offset in the batch
};

// Keeps nvcc from taking an address apart, to add its parts anew at every use.
template <typename T>
__device__ __forceinline__ T* opaque(T* address) {
#ifdef __CUDACC__
  asm("" : "+l"(address));
#endif
  return address;
}

// What missing rows read.
static __device__ uint4 zero_row[8];

// The rows of a warp's tiles in registers, a chunk at a time.
template <typename T, int kRowTiles, int kChunkBytes>
class GatheredRowTiles {
 public:
  static constexpr int kSteps = kChunkBytes / 32;  // products along a chunk
  static constexpr int kLoads = kChunkBytes / (4 * kLoadBytes<kChunkBytes>);
  static constexpr int kStepsPerLoad = kSteps / kLoads;

  // Names the rows that the loads from now on read, one of each tile: zeros where it is not below
  // `num_rows`.
  __device__ __forceinline__ void aim(const T* features, uint32_t row_bytes,
                                      const int32_t (&rows)[kRowTiles], uint32_t num_rows,
                                      int lane) {
    const int place = lane % 4 * kLoadBytes<kChunkBytes>;
    const char* base = opaque(reinterpret_cast<const char*>(features) + place);
    const char* zeros = reinterpret_cast<const char*>(zero_row) + place;
#pragma unroll
    for (int tile = 0; tile < kRowTiles; ++tile) {
      const auto row = static_cast<uint32_t>(rows[tile]);
      const char* from = base + uint64_t{row} * row_bytes;
      from_[tile] = row < num_rows ? from : zeros;
    }
  }

  __device__ __forceinline__ void load(int i) {
#pragma unroll
    for (int tile = 0; tile < kRowTiles; ++tile) {
      const char* from = from_[tile] + i * 64;
      if constexpr (kLoadBytes<kChunkBytes> == 16) {
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

// Copies chunks of weights to shared memory: kPanels matrices of kColumns columns, swizzled.
template <typename T, int kPanels, int kChunkBytes, int kThreads>
class WeightPanels {
 public:
  static constexpr int kChunk = kChunkBytes / static_cast<int>(sizeof(T));
  static constexpr int kPanelElements = kChunk * kColumns;
  static constexpr int kElements = kPanels * kPanelElements;

  __device__ __forceinline__ WeightPanels(const ChunkedShape& shape, int first_column)
      : row_bytes_(shape.weight_row_bytes) {
    const int vector = threadIdx.x % kRowVectors,
              channel = channel_of<T, kChunkBytes>(threadIdx.x / kRowVectors);
    const uint32_t column = first_column + vector * kPerVector<T>;
    exists_ = column < shape.c_out;
    from_ = exists_ ? channel * row_bytes_ + column * static_cast<uint32_t>(sizeof(T)) : 0;
    to_ = vector / kVectors<T> * kPanelElements +
          panel_place<T, kChunkBytes>(channel, vector % kVectors<T> * kPerVector<T>);
  }

  // Starts the copy of the chunk whose first row is at `weight`.
  __device__ __forceinline__ void load(const T* weight, T* to) const {
    if (kChannelsAtOnce > kChunk && threadIdx.x >= kChunk * kRowVectors) return;
    const char* from = reinterpret_cast<const char*>(weight) + from_;
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      const int channel = channel_of<T, kChunkBytes>(i * kChannelsAtOnce);  // from the first on
      cp_async_16(&to[to_ + channel * kColumns], from + (exists_ ? channel * row_bytes_ : 0),
                  exists_);
    }
  }

 private:
  static constexpr int kRowVectors = kPanels * kVectors<T>;
  static constexpr int kChannelsAtOnce = kThreads / kRowVectors;
  static constexpr int kCopies = kChannelsAtOnce < kChunk ? kChunk / kChannelsAtOnce : 1;
  static_assert(kThreads % kRowVectors == 0 && kChannelsAtOnce >= 8);  // then swizzled alike

  uint32_t row_bytes_, from_;
  int to_;
  bool exists_;
};

// Fetches the rows that kWarpRows columns of the table meet under up to kOffsets offsets; bit o of
// the result says whether offset first_offset + o meets any of them.
template <int kWarpRows, typename T>
__device__ __forceinline__ uint32_t fetch_table(const SparseConvArguments<T>& args,
                                                const ChunkedShape& shape, int64_t first_row,
                                                int first_offset, int lane,
                                                int32_t (*rows)[kWarpRows]) {
  constexpr int kHalves = 32 / kWarpRows, kLoads = 8;  // loads that run together
  const int half = lane / kWarpRows, column = lane % kWarpRows;
  const int64_t i = first_row + column;
  const int64_t num_rows = valid_rows(args.num_rows, args.shape.num_out);
  const int count = min(shape.num_offsets - first_offset, kOffsets);
  uint32_t mask = 0;
  const auto put = [&](int offset, int32_t row) {
    rows[offset][column] = row;
    if (row >= 0) mask |= 1u << offset;
  };
  if (args.neighbors == nullptr) {
    for (int o = half; o < count; o += kHalves) put(o, i < num_rows ? static_cast<int32_t>(i) : -1);
  } else {
    const auto num_in = static_cast<uint32_t>(args.shape.num_in);
    const int32_t* entry = args.neighbors + (first_offset + half) * args.shape.num_out + i;
    bool outside = false;
    for (int first = half; first < count; first += kLoads * kHalves) {
      int32_t found[kLoads];
#pragma unroll
      for (int o = 0; o < kLoads; ++o) {
        found[o] = -1;
        if (first + o * kHalves < count && i < num_rows) found[o] = *entry;
        entry += kHalves * args.shape.num_out;
      }
#pragma unroll
      for (int o = 0; o < kLoads; ++o) {
        const bool is_row = static_cast<uint32_t>(found[o]) < num_in;
        outside |= !is_row && found[o] != -1;
        put(first + o * kHalves, is_row ? found[o] : -1);
      }
    }
    report_if(outside, args.error_flag);
  }
  __syncwarp();  // a batch of loads may have written past the table
  if (shape.offsets > shape.num_offsets && count < kOffsets && half == 0) {
    put(count, static_cast<int32_t>(output_row(args, num_rows, i)));
  }
  return __reduce_or_sync(0xffffffffu, mask);
}

constexpr int kTileChannels = 16;
constexpr int kTilesPerPanel = kColumns / kTileChannels;

// A lane's part of the weights in shared memory, as first operands: rows of an operand are columns
// of a panel.
template <typename T, int kChunkBytes>
class WeightTiles {
 public:
  __device__ __forceinline__ WeightTiles(const T* weights, int lane)
      : weights_(weights +
                 (sizeof(T) == 2
                      ? panel_place<T, kChunkBytes>(
                            channel_of<T, kChunkBytes>(lane / 16 * 8 + lane % 8), lane / 8 % 2 * 8)
                      : 0)),
        lane_(lane) {}

  // Of product `step` and 16 output channels.
  __device__ __forceinline__ void load(int panel, int step, int tile, uint32_t (&a)[4]) const {
    constexpr int kPanelElements = kChunkBytes / static_cast<int>(sizeof(T)) * kColumns;
    const int first =
        panel * kPanelElements + channel_of<T, kChunkBytes>(step * kPartRows<T>) * kColumns;
    if constexpr (sizeof(T) == 2) {
      // A panel starts on a multiple of a row, so that swizzling is the same from any address.
      const uintptr_t place = reinterpret_cast<uintptr_t>(weights_) ^ (tile * kTileChannels * 2);
      ldmatrix_x4_trans(a, reinterpret_cast<const T*>(place) + first);
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int channel = channel_of<T, kChunkBytes>(lane_ % 4 + i / 2 * 4);
        const int column = tile * kTileChannels + lane_ / 4 + i % 2 * 8;
        a[i] = to_tf32(weights_[first + panel_place<T, kChunkBytes>(channel, column)]);
      }
    }
  }

 private:
  const T* weights_;
  int lane_;
};

// sums += a chunk of weights * the rows at hand, while the next rows are loaded.
template <int kPanels, typename T, int kRowTiles, int kChunkBytes>
__device__ __forceinline__ void multiply_step(
    GatheredRowTiles<T, kRowTiles, kChunkBytes>& rows, const T* weights, int lane,
    float (&sums)[kPanels * kTilesPerPanel][kRowTiles][4]) {
  using Rows = GatheredRowTiles<T, kRowTiles, kChunkBytes>;
  const WeightTiles<T, kChunkBytes> tiles(weights, lane);
#pragma unroll
  for (int step = 0; step < Rows::kSteps; ++step) {
#pragma unroll
    for (int tile = 0; tile < kPanels * kTilesPerPanel; ++tile) {
      uint32_t a[4];
      tiles.load(tile / kTilesPerPanel, step, tile % kTilesPerPanel, a);
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

// Where a warp turns its sums round: 16 rows of kColumns channels, in shared memory.
class Turned {
 public:
  static constexpr int kElements = 16 * kColumns;

  __device__ __forceinline__ explicit Turned(float* sums) : sums_(sums) {}

  // A lane has, of each tile of 16 channels, channels g and g + 8 of rows 2 * t and 2 * t + 1.
  template <int kRowTiles>
  __device__ __forceinline__ void put(const float (&sums)[kRowTiles][4], int first_tile, int tile,
                                      int lane) const {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int row = r * 8 + lane % 4 * 2 + i % 2, channel = tile * 16 + lane / 4 + i / 2 * 8;
        *at(row, channel) = sums[first_tile + r][i];
      }
    }
  }

  template <int kWidth>
  __device__ __forceinline__ void take(int row, int channel, float (&sums)[kWidth]) const {
#pragma unroll
    for (int i = 0; i < kWidth; i += 4) {
      const float4 four = *reinterpret_cast<const float4*>(at(row, channel + i));
      sums[i] = four.x, sums[i + 1] = four.y, sums[i + 2] = four.z, sums[i + 3] = four.w;
    }
  }

 private:
  // Eight channels of four pairs of rows lie in different banks.
  __device__ __forceinline__ float* at(int row, int channel) const {
    return sums_ + row * kColumns + (channel ^ row / 2 % 4 * 8);
  }

  float* sums_;
};

// The sums of one panel.
template <int kRowTiles, int kTiles>
__device__ __forceinline__ float (&panel_of(float (&sums)[kTiles][kRowTiles][4],
                                            int panel)) [kTilesPerPanel][kRowTiles][4] {
  return reinterpret_cast<float (&)[kTilesPerPanel][kRowTiles][4]>(sums[panel * kTilesPerPanel]);
}

// Adds the residuals to sums as the products leave them.
template <int kRowTiles, typename T>
__device__ __forceinline__
    void add_residuals(const SparseConvArguments<T>& args, int64_t num_rows, int64_t first_row,
                       int first_column, int lane, float (&sums)[kTilesPerPanel][kRowTiles][4]) {
  bool outside = false;
#pragma unroll 1
  for (int i = 0; i < kMaxResiduals; ++i) {
    const GatheredRows<T>& residual = args.epilogue.residuals[i];
    if (residual.data == nullptr) continue;
#pragma unroll
    for (int e = 0; e < kRowTiles * 2; ++e) {
      int64_t row = output_row(args, num_rows, first_row + e / 2 * 8 + lane % 4 * 2 + e % 2);
      if (row < 0) continue;
      if (residual.rows) {
        row = residual.rows[row];
        outside |= row < -1 || row >= residual.num_rows;
        if (row < 0 || row >= residual.num_rows) continue;
      }
      const T* from = residual.data + row * args.shape.c_out;
#pragma unroll
      for (int c = 0; c < kTilesPerPanel * 2; ++c) {
        const int channel = first_column + c * 8 + lane / 4;
        if (channel < args.shape.c_out) {
          sums[c / 2][e / 2][c % 2 * 2 + e % 2] += static_cast<float>(from[channel]);
        }
      }
    }
  }
  report_if(outside, args.error_flag);
}

// Finishes a warp's sums and writes them. Neighbouring lanes exchange them by shuffles.
template <int kRowTiles, typename T>
__device__ __forceinline__ void store_turned(const SparseConvArguments<T>& args, int64_t num_rows,
                                             int64_t first_row, int first_column, int lane,
                                             float (&sums)[kTilesPerPanel][kRowTiles][4]) {
  static_assert(sizeof(T) == 2);
  if (args.epilogue.has_residuals()) {
    add_residuals(args, num_rows, first_row, first_column, lane, sums);
  }
  const float slope = args.epilogue.negative_slope;
  const auto finish = [&](float value) { return value < 0 ? value * slope : value; };
  float all = 0;  // NaN where a sum is not finite
  int64_t out_rows[kRowTiles];
#pragma unroll
  for (int r = 0; r < kRowTiles; ++r) {
    out_rows[r] = output_row(args, num_rows, first_row + r * 8 + lane / 4);
  }
#pragma unroll
  for (int tile = 0; tile < kTilesPerPanel; ++tile) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      // This lane has one channel of two rows; it gets two channels of one row.
      const int own = first_column + tile * kTileChannels + half * 8 + lane / 4;
      const int channel = first_column + tile * kTileChannels + half * 8 + lane % 4 * 2;
      float bias = 0;
      if (args.epilogue.bias && own < args.shape.c_out) {
        bias = static_cast<float>(args.epilogue.bias[own]);
      }
#pragma unroll
      for (int r = 0; r < kRowTiles; ++r) {
        const float a = sums[tile][r][half * 2] + bias, b = sums[tile][r][half * 2 + 1] + bias;
        all = fmaf(a, 0, fmaf(b, 0, all));
        Packed<T, 2> pair{{static_cast<T>(finish(a)), static_cast<T>(finish(b))}};
        uint32_t word;
        memcpy(&word, &pair, 4);
        const int from = lane % 4 * 8 + lane / 8;
        const uint32_t even = __shfl_sync(0xffffffffu, word, from);
        const uint32_t odd = __shfl_sync(0xffffffffu, word, from + 4);
        const uint32_t turned =
            lane / 4 % 2 ? even >> 16 | (odd & 0xffff0000u) : (even & 0xffffu) | odd << 16;
        if (out_rows[r] >= 0 && channel < args.shape.c_out) {
          *reinterpret_cast<uint32_t*>(args.out + out_rows[r] * args.shape.c_out + channel) =
              turned;
        }
      }
    }
  }
  if (!__any_sync(0xffffffffu, all != 0)) return;
  __syncwarp();
  for (int e = 0; e < kTilesPerPanel * kRowTiles * 4; ++e) {  // those of a lane, formed again
    const int64_t i = first_row + e / 4 % kRowTiles * 8 + lane % 4 * 2 + e % 2;
    const int64_t row = output_row(args, num_rows, i);
    const int64_t channel =
        first_column + e / 4 / kRowTiles * kTileChannels + e / 2 % 2 * 8 + lane / 4;
    if (row >= 0 && channel < args.shape.c_out) OutputRow<T>(args, row, i).write_again(channel);
  }
}

// Finishes a warp's sums and writes them.
template <int kPanels, int kRowTiles, typename T>
__device__ __forceinline__ void store_tiles(const SparseConvArguments<T>& args, int64_t first_row,
                                            int first_column, int lane, const Turned& turned,
                                            float (&sums)[kPanels * kTilesPerPanel][kRowTiles][4]) {
  constexpr int kWidth = kPerVector<T>, kLanes = kColumns / kWidth;  // of a row
  const int64_t num_rows = valid_rows(args.num_rows, args.shape.num_out);
#pragma unroll
  for (int panel = 0; panel < kPanels; ++panel) {
#pragma unroll
    for (int r = 0; r < kRowTiles; r += 2) {
      __syncwarp();
#pragma unroll
      for (int tile = 0; tile < kTilesPerPanel; ++tile) {
        turned.put(sums[panel * kTilesPerPanel + tile], r, tile, lane);
      }
      __syncwarp();
#pragma unroll 1
      for (int row = lane / kLanes; row < 16; row += 32 / kLanes) {
        const int64_t i = first_row + r * 8 + row, out_row = output_row(args, num_rows, i);
        if (out_row < 0) continue;
        const int channel = lane % kLanes * kWidth;
        float values[kWidth];
        turned.take(row, channel, values);
        OutputRow<T>(args, out_row, i)
            .template write<kWidth, 1>(first_column + panel * kColumns + channel, 0,
                                       [&](int, int i) -> float& { return values[i]; });
      }
    }
  }
}

}  // namespace elite_ops::cuda::tensor_core
