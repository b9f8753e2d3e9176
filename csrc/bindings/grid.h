// Checks of a grid's shape, shared by the bindings of the voxel ops.
#pragma once

#include <c10/util/ArrayRef.h>
#include <c10/util/Exception.h>

#include <limits>

#include "common/voxel_grid.h"

namespace elite_ops {

// `a * b`, or 2^63 - 1 where that is more.
inline int64_t saturating_product(int64_t a, int64_t b) {
  int64_t product;
  return __builtin_mul_overflow(a, b, &product) ? std::numeric_limits<int64_t>::max() : product;
}

inline void check_grid_shape(const char* op, const char* name, c10::IntArrayRef shape,
                             int64_t batch_size) {
  TORCH_CHECK_VALUE(shape.size() == 3, op, ": `", name, "` must have 3 entries, got ", shape);
  for (const int64_t size : shape) {
    TORCH_CHECK_VALUE(size >= 1 && size <= kMaxCellsPerAxis, op, ": `", name,
                      "` must be between 1 and 2^24 along each axis, got ", shape);
  }
  TORCH_CHECK_VALUE(batch_size >= 1 && batch_size < std::numeric_limits<int32_t>::max(), op,
                    ": `batch_size` must be between 1 and 2^31 - 2, got ", batch_size);
}

// The keys of a grid are packed into 63 bits.
inline void check_num_keys(const char* op, c10::IntArrayRef shape, int64_t batch_size,
                           int64_t num_keys) {
  TORCH_CHECK_VALUE(num_keys < std::numeric_limits<int64_t>::max(), op,
                    ": `spatial_shape` times `batch_size` must fit in a 63-bit key, got ", shape,
                    " and ", batch_size);
}

}  // namespace elite_ops
