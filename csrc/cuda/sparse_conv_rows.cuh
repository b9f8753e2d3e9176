// What the kernels of sparse convolution share: which rows and matrices meet under an offset, and
// what happens to a sum before it is written.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "common/error_flag.h"
#include "common/num_rows.h"
#include "sparse_conv.h"

namespace elite_ops::cuda {

// `row` where it is a row of a matrix or -1; otherwise reports it and returns -1.
__device__ __forceinline__ int32_t checked_row(int32_t row, int64_t num_rows, int32_t* error_flag) {
  if (row >= -1 && row < num_rows) return row;
  atomicOr(error_flag, static_cast<int32_t>(kIndexOutOfRange));
  return -1;
}

// The output row that column `i` of the table stands for, -1 past the valid rows.
template <typename T>
__device__ __forceinline__ int64_t output_row(const SparseConvArguments<T>& args, int64_t num_rows,
                                              int64_t i) {
  if (i >= num_rows) return -1;
  if (args.order == nullptr) return i;
  const int32_t row = args.order[i];
  if (row >= 0 && row < num_rows) return row;
  atomicOr(args.error_flag, static_cast<int32_t>(kIndexOutOfRange));
  return -1;
}

// How many offsets there are. The shortcut is one more, the last: every output row meets itself.
template <typename T>
ELITE_HOST_DEVICE int64_t offsets_of(const SparseConvArguments<T>& args) {
  return args.shape.num_offsets + (args.shortcut.features ? 1 : 0);
}

// What an offset multiplies.
template <typename T>
struct Operand {
  const T* features;  // [*, channels]
  const T* weight;    // [channels, c_out]
  int64_t channels;
};

template <typename T>
__device__ __forceinline__ Operand<T> operand(const SparseConvArguments<T>& args, int64_t k) {
  if (k == args.shape.num_offsets) {
    return {args.shortcut.features, args.shortcut.weight, args.shortcut.channels};
  }
  return {args.features, args.weight + k * args.shape.c_in * args.shape.c_out, args.shape.c_in};
}

// A walk along a column of the table: the rows that meet one output row, offset by offset.
template <typename T>
struct TableColumn {
  const int32_t* entry;  // under the offset where the walk stands; null: row_in
  int offsets_left;      // to the end of the table
  int32_t row_in;        // what every offset meets where there is no table, -1 past the valid rows
  int32_t shortcut_row;  // -1 where there is no shortcut

  // Starts at the first offset of column `i`.
  __device__ __forceinline__ TableColumn(const SparseConvArguments<T>& args, int64_t num_rows,
                                         int64_t i)
      : entry(args.neighbors && i < num_rows ? args.neighbors + i : nullptr),
        offsets_left(static_cast<int>(args.shape.num_offsets)),
        row_in(args.neighbors || i >= num_rows ? -1 : static_cast<int32_t>(i)),
        shortcut_row(-1) {
    if (args.shortcut.features) shortcut_row = static_cast<int32_t>(output_row(args, num_rows, i));
  }

  // The row of the operand's features here, -1 where there is none; goes one offset on. Sets
  // `outside` where the table names a row that doesn't exist.
  __device__ __forceinline__ int32_t next(const SparseConvArguments<T>& args, bool& outside) {
    int32_t row = offsets_left > 0 ? row_in : -1;
    if (offsets_left > 0 && entry) row = *entry;
    const bool is_wrong = row < -1 || row >= args.shape.num_in;
    outside |= is_wrong;
    row = is_wrong ? -1 : row;
    if (offsets_left == 0) row = shortcut_row;
    --offsets_left;
    if (entry) entry += args.shape.num_out;
    return row;
  }
};

__device__ __forceinline__ void report_if(bool outside, int32_t* error_flag) {
  if (outside) atomicOr(error_flag, static_cast<int32_t>(kIndexOutOfRange));
}

// The sum of one element, a product after the other, for column `i` of the table: under offsets
// that the row doesn't meet, nothing is multiplied.
template <typename T>
__device__ accumulate_t<T> sum_of_products(const SparseConvArguments<T>& args, int64_t i,
                                           int64_t column) {
  TableColumn<T> table_column(args, valid_rows(args.num_rows, args.shape.num_out), i);
  bool outside = false;
  accumulate_t<T> sum = 0;
  for (int64_t k = 0; k < offsets_of(args); ++k) {
    const int64_t row = table_column.next(args, outside);
    if (row < 0) continue;
    const Operand<T> from = operand(args, k);
    for (int64_t c = 0; c < from.channels; ++c) {
      sum += static_cast<accumulate_t<T>>(from.features[row * from.channels + c]) *
             static_cast<accumulate_t<T>>(from.weight[c * args.shape.c_out + column]);
    }
  }
  return sum;
}

// A row of the output, and the rows that are added to it: null where there is nothing to add. It is
// that of column `i` of the table.
template <typename T>
class OutputRow {
 public:
  __device__ __forceinline__ OutputRow(const SparseConvArguments<T>& args, int64_t row, int64_t i)
      : args_(args), i_(static_cast<int32_t>(i)), out_(args.out + row * args.shape.c_out) {
    int64_t rows[kMaxResiduals];
#pragma unroll
    for (int r = 0; r < kMaxResiduals; ++r) {
      const GatheredRows<T>& from = args.epilogue.residuals[r];
      rows[r] = from.data && from.rows ? from.rows[row] : row;
    }
    bool outside = false;
#pragma unroll
    for (int r = 0; r < kMaxResiduals; ++r) {
      const GatheredRows<T>& from = args.epilogue.residuals[r];
      const bool is_wrong = from.data && from.rows && (rows[r] < -1 || rows[r] >= from.num_rows);
      outside |= is_wrong;
      const bool adds = from.data && rows[r] >= 0 && !is_wrong;
      residuals_[r] = adds ? from.data + rows[r] * args.shape.c_out : nullptr;
    }
    report_if(outside, args.error_flag);
  }

  // Finishes sums and writes them: `sum(i)` is that of the i-th of kColumns columns, `stride`
  // apart.
  //
  // The kernels multiply the weights of an offset with zeros for rows that don't meet it. A weight
  // that is infinite or NaN makes NaN of them, so sums that aren't finite are formed again.
  template <int kColumns, typename Sum>
  __device__ __forceinline__ void write(int64_t first_column, int stride, const Sum& sum) const {
    const SparseConvEpilogue<T>& epilogue = args_.epilogue;
    const Columns columns{first_column, stride, args_.shape.c_out};
    if (epilogue.bias) add<kColumns>(epilogue.bias, columns, sum);
#pragma unroll
    for (const T* residual : residuals_) {
      if (residual) add<kColumns>(residual, columns, sum);
    }
    static_assert(kColumns <= 32);
    uint32_t not_finite = 0;
#pragma unroll
    for (int i = 0; i < kColumns; ++i) {
      const accumulate_t<T> value = sum(i);
      if (!columns.exists(i)) continue;
      not_finite |= is_finite(value) ? 0 : 1u << i;
      out_[columns.at(i)] = static_cast<T>(value < 0 ? value * epilogue.negative_slope : value);
    }
    for (; not_finite != 0; not_finite &= not_finite - 1) {
      write_again(columns.at(__ffs(static_cast<int>(not_finite)) - 1));
    }
  }

  // Forms the sum of a column again, product by product.
  __device__ __forceinline__ void write_again(int64_t column) const {
    using Sum = accumulate_t<T>;
    Sum value = sum_of_products(args_, i_, column);
    if (args_.epilogue.bias) value += static_cast<Sum>(args_.epilogue.bias[column]);
#pragma unroll
    for (const T* residual : residuals_) {
      if (residual) value += static_cast<Sum>(residual[column]);
    }
    out_[column] = static_cast<T>(value < 0 ? value * args_.epilogue.negative_slope : value);
  }

 private:
  // x - x is NaN where x is infinite or NaN.
  __device__ __forceinline__ static bool is_finite(accumulate_t<T> x) { return x - x == 0; }

  struct Columns {
    int64_t first;
    int stride;
    int64_t c_out;

    __device__ __forceinline__ int64_t at(int i) const { return first + i * stride; }
    __device__ __forceinline__ bool exists(int i) const { return at(i) < c_out; }
  };

  // All loads of a row run together.
  template <int kColumns, typename Sum>
  __device__ __forceinline__ static void add(const T* row, const Columns& columns, const Sum& sum) {
    T added[kColumns];
#pragma unroll
    for (int i = 0; i < kColumns; ++i) {
      if (columns.exists(i)) added[i] = row[columns.at(i)];
    }
#pragma unroll
    for (int i = 0; i < kColumns; ++i) {
      if (columns.exists(i)) sum(i) += static_cast<accumulate_t<T>>(added[i]);
    }
  }

  const SparseConvArguments<T>& args_;
  int32_t i_;
  T* out_;
  const T* residuals_[kMaxResiduals];
};

}  // namespace elite_ops::cuda
