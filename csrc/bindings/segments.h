// The three tensors of a `Segments`: their checks, and how the kernels get them.
#pragma once

#include "check.h"
#include "common/csr.h"

namespace elite_ops {

// `with` is the tensor that the segments are applied to, `with_name` its argument.
inline void check_segments(const char* op, const at::Tensor& inverse, const at::Tensor& order,
                           const at::Tensor& offsets, const char* with_name,
                           const at::Tensor& with) {
  const auto check_rows = [&](const char* name, const at::Tensor& t) {
    check_dim(op, name, t, 1);
    check_dtype(op, name, t, at::kInt);
    check_same_device(op, name, t, with_name, with);
  };
  check_rows("segments.inverse", inverse);
  check_rows("segments.order", order);
  check_rows("segments.offsets", offsets);
  check_size(op, "segments.order", order, 0, inverse.size(0));
  TORCH_CHECK_VALUE(offsets.size(0) > 0, op, ": `segments.offsets` must have num_segments + 1 ",
                    "entries, got none");
}

// The segments as rows, and their points as entries.
inline Csr as_csr(const at::Tensor& order, const at::Tensor& offsets,
                  const int64_t* num_rows = nullptr) {
  return {offsets.const_data_ptr<int32_t>(), order.const_data_ptr<int32_t>(), nullptr,
          offsets.size(0) - 1, num_rows};
}

}  // namespace elite_ops
