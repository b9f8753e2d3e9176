// The rows that a warp meets, from the table to shared memory.
#pragma once

#include <cstdint>

#include "sparse_conv_rows.cuh"
#include "sparse_conv_steps.cuh"

namespace elite_ops::cuda::tensor_core {

// Fetches the rows that kWarpRows columns of the table meet under up to kOffsets offsets; bit o of
// the result says whether offset first_offset + o meets any of them.
template <int kWarpRows, typename T>
__device__ __forceinline__ uint32_t fetch_table(const SparseConvArguments<T>& args,
                                                const ChunkedShape& shape, int64_t first_row,
                                                int first_offset, int lane,
                                                int32_t (*rows)[kWarpRows]) {
  constexpr int kAtOnce = 32 / kWarpRows;  // offsets, a part of the warp each
  constexpr int kLoads = 8;                // of a lane, that run together
  static_assert(kOffsets % (kLoads * kAtOnce) == 0);
  const int part = lane / kWarpRows, column = lane % kWarpRows;
  const int64_t i = first_row + column;
  const int64_t num_rows = valid_rows(args.num_rows, args.shape.num_out);
  const int count = min(shape.num_offsets - first_offset, kOffsets);
  uint32_t mask = 0;
  const auto put = [&](int offset, int32_t row) {
    rows[offset][column] = row;
    if (row >= 0) mask |= 1u << offset;
  };
  if (args.neighbors == nullptr) {
    const int32_t row = i < num_rows ? static_cast<int32_t>(i) : -1;
    for (int o = part; o < count; o += kAtOnce) put(o, row);
  } else {
    const auto num_in = static_cast<uint32_t>(args.shape.num_in);
    const int32_t* entry = args.neighbors + (first_offset + part) * args.shape.num_out + i;
    bool outside = false;
    for (int first = part; first < count; first += kLoads * kAtOnce) {
      int32_t found[kLoads];
#pragma unroll
      for (int o = 0; o < kLoads; ++o) {
        found[o] = -1;
        if (first + o * kAtOnce < count && i < num_rows) found[o] = *entry;
        entry += kAtOnce * args.shape.num_out;
      }
#pragma unroll
      for (int o = 0; o < kLoads; ++o) {
        const bool is_row = static_cast<uint32_t>(found[o]) < num_in;
        outside |= !is_row && found[o] != -1;
        put(first + o * kAtOnce, is_row ? found[o] : -1);
      }
    }
    report_if(outside, args.error_flag);
  }
  __syncwarp();  // the last loads may have written past the table, where the shortcut's row goes
  if (shape.offsets > shape.num_offsets && count < kOffsets && part == 0) {
    put(count, static_cast<int32_t>(output_row(args, num_rows, i)));
  }
  return __reduce_or_sync(0xffffffffu, mask);
}

}  // namespace elite_ops::cuda::tensor_core
