// The steps of a convolution on tensor cores: a chunk of input channels under an offset each.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "sparse_conv_rows.cuh"

namespace elite_ops::cuda::tensor_core {

constexpr int kOffsets = 32;  // of a batch: those whose rows are in shared memory at a time

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

// Where a walk over the steps of a batch stands: a chunk of input channels under the first of the
// offsets that remain.
struct Cursor {
  uint32_t remaining;  // offsets, as bits
  int chunk;

  __device__ __forceinline__ int place() const {  // 1 + the offset; 0 at the end
    return __ffs(static_cast<int>(remaining));
  }
};

// The steps of a batch.
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
    const bool after_shortcut = shortcut_ < kOffsets && (before >> shortcut_ & 1);
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

}  // namespace elite_ops::cuda::tensor_core
