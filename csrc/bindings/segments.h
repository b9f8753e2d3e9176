// The three tensors of a `Segments`: their checks, and how the kernels get them.
#pragma once

#include <optional>
#include <string>

#include "check.h"
#include "common/csr.h"

namespace elite_ops {

// Numbers of rows, or of places in a list of them: int32, on the device of `with`.
inline void check_row_numbers(const char* op, const char* name, const at::Tensor& t, int64_t dim,
                              const char* with_name, const at::Tensor& with) {
  check_dim(op, name, t, dim);
  check_dtype(op, name, t, at::kInt);
  check_same_device(op, name, t, with_name, with);
}

// Where the rows of a CSR list begin in its entries. The last one is looked at where that takes no
// wait; the others are trusted.
inline void check_offsets(const char* op, const char* name, const at::Tensor& offsets,
                          int64_t num_entries, const char* with_name, const at::Tensor& with) {
  check_row_numbers(op, name, offsets, 1, with_name, with);
  TORCH_CHECK_VALUE(offsets.size(0) > 0, op, ": `", name,
                    "` must have num_segments + 1 entries, got none");
  if (!offsets.is_cpu()) return;
  const int32_t last =
      *(offsets.const_data_ptr<int32_t>() + (offsets.size(0) - 1) * offsets.stride(0));
  TORCH_CHECK_VALUE(last >= 0 && last <= num_entries, op, ": `", name, "` must end in [0, ",
                    num_entries, "], got ", last);
}

// `with` is the tensor that the segments are applied to, `with_name` its argument.
inline void check_segments(const char* op, const at::Tensor& inverse, const at::Tensor& order,
                           const at::Tensor& offsets, const char* with_name, const at::Tensor& with,
                           const std::string& name = "segments") {
  const std::string of_inverse = name + ".inverse", of_order = name + ".order";
  check_row_numbers(op, of_inverse.c_str(), inverse, 1, with_name, with);
  check_row_numbers(op, of_order.c_str(), order, 1, with_name, with);
  check_size(op, of_order.c_str(), order, 0, inverse.size(0));
  check_offsets(op, (name + ".offsets").c_str(), offsets, order.size(0), with_name, with);
}

// The segments as rows, and their points as entries.
inline Csr as_csr(const at::Tensor& order, const at::Tensor& offsets,
                  const int64_t* num_rows = nullptr) {
  return {offsets.const_data_ptr<int32_t>(), order.const_data_ptr<int32_t>(), nullptr,
          offsets.size(0) - 1, num_rows};
}

// What an op keeps of its segments: contiguous, and checked.
struct SegmentTensors {
  at::Tensor inverse, order, offsets;

  static SegmentTensors check(const char* op, const at::Tensor& inverse, const at::Tensor& order,
                              const at::Tensor& offsets, const char* with_name,
                              const at::Tensor& with, const std::string& name = "segments") {
    check_segments(op, inverse, order, offsets, with_name, with, name);
    return {inverse.contiguous(), order.contiguous(), offsets.contiguous()};
  }

  // Of the points that `rows` [N, C], floating, has a row for each of.
  static SegmentTensors check_of_rows(const char* op, const char* name, const at::Tensor& rows,
                                      const at::Tensor& inverse, const at::Tensor& order,
                                      const at::Tensor& offsets) {
    check_dim(op, name, rows, 2);
    check_floating(op, name, rows);
    SegmentTensors segments = check(op, inverse, order, offsets, name, rows);
    check_size(op, name, rows, 0, segments.num_points());
    return segments;
  }

  int64_t num_points() const { return inverse.size(0); }
  int64_t num_segments() const { return offsets.size(0) - 1; }
  Csr csr(const std::optional<at::Tensor>& num_rows = std::nullopt) const {
    return as_csr(order, offsets, num_rows_data(num_rows));
  }
};

}  // namespace elite_ops
