// Input checks shared by every binding. Each message names the op, the argument, the rule, and what
// came.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <cmath>
#include <limits>
#include <optional>

namespace elite_ops {

inline void check_dim(const char* op, const char* name, const at::Tensor& t, int64_t dim) {
  TORCH_CHECK_VALUE(t.dim() == dim, op, ": `", name, "` must have ", dim, " dimensions, got shape ",
                    t.sizes());
}

inline void check_size(const char* op, const char* name, const at::Tensor& t, int64_t dim,
                       int64_t size) {
  TORCH_CHECK_VALUE(t.size(dim) == size, op, ": `", name, "` must have size ", size,
                    " in dimension ", dim, ", got shape ", t.sizes());
}

inline void check_dtype(const char* op, const char* name, const at::Tensor& t,
                        at::ScalarType dtype) {
  TORCH_CHECK_TYPE(t.scalar_type() == dtype, op, ": `", name, "` must be ", dtype, ", got ",
                   t.scalar_type());
}

// float32, float64, float16 or bfloat16.
inline void check_floating(const char* op, const char* name, const at::Tensor& t) {
  const auto dtype = t.scalar_type();
  TORCH_CHECK_TYPE(
      dtype == at::kFloat || dtype == at::kDouble || dtype == at::kHalf || dtype == at::kBFloat16,
      op, ": `", name, "` must be float32, float64, float16 or bfloat16, got ", dtype);
}

inline void check_same_device(const char* op, const char* name, const at::Tensor& t,
                              const char* with_name, const at::Tensor& with) {
  TORCH_CHECK_VALUE(t.device() == with.device(), op, ": `", name, "` must be on the device of `",
                    with_name, "` (", with.device(), "), got ", t.device());
}

// Row numbers are int32 everywhere; element offsets are computed in 64 bits.
inline void check_row_count(const char* op, const char* name, int64_t rows) {
  TORCH_CHECK_VALUE(rows < std::numeric_limits<int32_t>::max(), op, ": `", name,
                    "` must have fewer than 2^31 - 1 rows, got ", rows);
}

// Numbers that kernels take as float32.
inline void check_finite(const char* op, const char* name, double value) {
  TORCH_CHECK_VALUE(std::abs(value) <= std::numeric_limits<float>::max(), op, ": `", name,
                    "` must be finite in float32, got ", value);
}

// The same; not so small either that its inverse isn't.
inline void check_positive(const char* op, const char* name, double value) {
  constexpr double kLeast = std::numeric_limits<float>::min();
  TORCH_CHECK_VALUE(value >= kLeast && value <= std::numeric_limits<float>::max(), op, ": `", name,
                    "` must be positive and finite in float32, got ", value);
}

// The number of valid rows of a buffer of `capacity` rows (common/num_rows.h).
inline void check_num_rows(const char* op, const std::optional<at::Tensor>& num_rows,
                           int64_t capacity, const char* with_name, const at::Tensor& with) {
  if (!num_rows) return;
  TORCH_CHECK_VALUE(num_rows->numel() == 1, op, ": `num_rows` must have one element, got shape ",
                    num_rows->sizes());
  check_dtype(op, "num_rows", *num_rows, at::kLong);
  check_same_device(op, "num_rows", *num_rows, with_name, with);
  if (!num_rows->is_cpu()) return;
  const int64_t rows = *num_rows->const_data_ptr<int64_t>();
  TORCH_CHECK_VALUE(rows >= 0 && rows <= capacity, op, ": `num_rows` must be in [0, ", capacity,
                    "], got ", rows);
}

// As the kernels take it: null where all rows are true.
inline const int64_t* num_rows_data(const std::optional<at::Tensor>& num_rows) {
  return num_rows ? num_rows->const_data_ptr<int64_t>() : nullptr;
}

// Pixel coordinates must be exact as floats.
inline void check_image_size(const char* op, int64_t height, int64_t width) {
  constexpr int64_t kMax = 1 << 24;
  TORCH_CHECK_VALUE(height >= 1 && width >= 1 && height <= kMax && width <= kMax, op,
                    ": `image_size` must be between 1 and 2^24 pixels, got ", height, " x ", width);
}

}  // namespace elite_ops
