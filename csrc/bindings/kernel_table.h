// The tables of a kernel map, as ops over them take these: `in_rows` [K, V_out] and `out_rows`
// [K, V_in], int32.
#pragma once

#include <optional>

#include "check.h"
#include "common/kernel_table.h"

namespace elite_ops {

inline void check_features(const char* op, const char* name, const at::Tensor& features) {
  check_dim(op, name, features, 2);
  check_floating(op, name, features);
  check_row_count(op, name, features.size(0));
}

inline void check_like(const char* op, const char* name, const at::Tensor& t, const char* with_name,
                       const at::Tensor& with) {
  check_dtype(op, name, t, with.scalar_type());
  check_same_device(op, name, t, with_name, with);
}

inline void check_table(const char* op, const char* name, const at::Tensor& table,
                        const char* with_name, const at::Tensor& with) {
  check_dim(op, name, table, 2);
  check_dtype(op, name, table, at::kInt);
  check_same_device(op, name, table, with_name, with);
  check_row_count(op, name, table.size(1));
}

// Both tables of a map from the rows of `features`; an op may do without the second.
inline void check_tables(const char* op, const at::Tensor& in_rows,
                         const std::optional<at::Tensor>& out_rows, const at::Tensor& features) {
  check_table(op, "in_rows", in_rows, "features", features);
  if (!out_rows) return;
  check_table(op, "out_rows", *out_rows, "features", features);
  check_size(op, "out_rows", *out_rows, 0, in_rows.size(0));
  check_size(op, "out_rows", *out_rows, 1, features.size(0));
}

// `rows` as kernels take it, contiguous; it names rows of a matrix with `num_rows`.
inline KernelTable kernel_table(const at::Tensor& rows, int64_t num_rows) {
  return {rows.const_data_ptr<int32_t>(), rows.size(0), rows.size(1), num_rows};
}

inline void check_rows_in_range(const char* op, const char* name, bool in_range,
                                const char* of_name, int64_t num_rows) {
  TORCH_CHECK_INDEX(in_range, op, ": `", name, "` must be -1 or a row of `", of_name, "` (below ",
                    num_rows, "), got a number outside");
}

}  // namespace elite_ops
