// A kernel that walks a kernel table: a group of lanes takes a few neighbouring columns, and the
// lanes share out the channels. What becomes of the rows that a column meets is an operation:
//
//   struct Sum {
//     using Scalar = ...;                       // of the channels
//     static constexpr int kColumns = 4;        // of a group
//     template <int width> struct State {...};  // of one column and `width` channels
//
//     // The state before anything is met, of the channels from `channel` on.
//     template <int width> void start(State<width>& state, int64_t channel) const;
//     // Column `place.first + i` meets rows[i] under an offset, or nothing: -1.
//     template <int width> void add(State<width> (&states)[kColumns], const int32_t
//     (&rows)[kColumns],
//                                   const TablePlace& place) const;
//     // Writes a column's result.
//     template <int width> void store(const State<width>& state, int64_t cell, ...) const;
//   };
#pragma once

#include "accumulate.cuh"
#include "common/error_flag.h"
#include "common/kernel_table.h"
#include "cuda/packed.cuh"
#include "cuda/row_groups.cuh"

namespace elite_ops::cuda {

// Where a thread is: its first column, its first channel, the number of channels and the offset.
struct TablePlace {
  int64_t first;
  int64_t channel;
  int64_t channels;
  int64_t offset;

  // Where this thread's channels of a row begin.
  __device__ __forceinline__ int64_t cell(int64_t row) const { return row * channels + channel; }
};

// `width` neighbouring elements. `row` is -1 where there are none: then nothing is read.
template <int width, typename T>
__device__ __forceinline__ Packed<T, width> load_pack(const T* from, int64_t row,
                                                      const TablePlace& place) {
  Packed<T, width> pack{};
  if (row >= 0) pack = *reinterpret_cast<const Packed<T, width>*>(from + place.cell(row));
  return pack;
}

// Sums rounded to T.
template <int width, typename T, typename Sum>
__device__ __forceinline__ void store_pack(const Sum (&sums)[width], T* to) {
  Packed<T, width> pack;
  for (int i = 0; i < width; ++i) pack.values[i] = static_cast<T>(sums[i]);
  *reinterpret_cast<Packed<T, width>*>(to) = pack;
}

template <int count>
__device__ __forceinline__ void read_entries(const KernelTable& table, int64_t k, int64_t first,
                                             int32_t (&rows)[count]) {
  for (int i = 0; i < count; ++i) {
    const bool exists = k < table.num_offsets && first + i < table.num_columns;
    rows[i] = exists ? table.rows[k * table.num_columns + first + i] : -1;
  }
}

// Makes -1 of entries that are no row. Returns whether there are others.
template <int count>
__device__ __forceinline__ bool meets_rows(const KernelTable& table, int32_t (&rows)[count],
                                           bool& outside) {
  bool meets = false;
  for (int i = 0; i < count; ++i) {
    const bool is_row = rows[i] >= 0 && rows[i] < table.num_rows;
    outside |= !is_row && rows[i] != -1;
    if (!is_row) rows[i] = -1;
    meets |= is_row;
  }
  return meets;
}

template <int width, typename Operation>
__global__ void __launch_bounds__(kThreadsPerBlock)
    table_kernel(const KernelTable table, int64_t channels, int lanes, const Operation operation,
                 int32_t* __restrict__ error_flag) {
  constexpr int kColumns = Operation::kColumns;
  const RowGroup group(lanes);
  TablePlace place{group.row() * kColumns, 0, channels, 0};
  if (place.first >= table.num_columns) return;
  bool outside = false;
  for (place.channel = group.lane * width; place.channel < channels;
       place.channel += int64_t{lanes} * width) {
    typename Operation::template State<width> states[kColumns];
    for (int i = 0; i < kColumns; ++i) operation.start(states[i], place.channel);
    int32_t next[kColumns];
    read_entries(table, 0, place.first, next);
    for (place.offset = 0; place.offset < table.num_offsets; ++place.offset) {
      int32_t rows[kColumns];
      for (int i = 0; i < kColumns; ++i) rows[i] = next[i];
      read_entries(table, place.offset + 1, place.first, next);
      if (meets_rows(table, rows, outside)) operation.add(states, rows, place);
    }
    for (int i = 0; i < kColumns; ++i) {
      const int64_t column = place.first + i;
      if (column < table.num_columns) operation.store(states[i], column, place);
    }
  }
  if (outside) atomicOr(error_flag, static_cast<int32_t>(kIndexOutOfRange));
}

// `is_wide`: all rows of channels can be read and written in widest loads (packed.cuh).
template <typename Operation>
cudaError_t walk_table(const KernelTable& table, int64_t channels, bool is_wide,
                       const Operation& operation, int32_t* error_flag, cudaStream_t stream) {
  if (table.num_columns == 0 || channels == 0) return cudaSuccess;
  constexpr int kWidth = kWidest<typename Operation::Scalar>;
  constexpr int64_t kColumns = Operation::kColumns;
  const int lanes = lanes_for(is_wide ? channels / kWidth : channels);
  const int64_t groups = (table.num_columns + kColumns - 1) / kColumns;
  const cudaLaunchConfig_t config = one_group_per(groups, lanes, stream);
  const auto kernel = is_wide ? table_kernel<kWidth, Operation> : table_kernel<1, Operation>;
  return cudaLaunchKernelEx(&config, kernel, table, channels, lanes, operation, error_flag);
}

}  // namespace elite_ops::cuda
