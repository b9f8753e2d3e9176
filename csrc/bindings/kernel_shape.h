// Checks of a convolution kernel's shape, shared by the bindings that build kernel maps.
#pragma once

#include "common/kernel_shape.h"
#include "grid.h"

namespace elite_ops {

inline KernelShape checked_kernel_shape(const char* op, c10::IntArrayRef kernel_size,
                                        c10::IntArrayRef dilation) {
  TORCH_CHECK_VALUE(kernel_size.size() == 3, op, ": `kernel_size` must have 3 entries, got ",
                    kernel_size);
  TORCH_CHECK_VALUE(dilation.size() == 3, op, ": `dilation` must have 3 entries, got ", dilation);
  KernelShape kernel;
  for (int axis = 0; axis < 3; ++axis) {
    TORCH_CHECK_VALUE(
        kernel_size[axis] % 2 == 1 && kernel_size[axis] >= 1 && kernel_size[axis] <= 7, op,
        ": `kernel_size` must be 1, 3, 5 or 7 along each axis, got ", kernel_size);
    TORCH_CHECK_VALUE(dilation[axis] >= 1 && dilation[axis] <= kMaxCellsPerAxis, op,
                      ": `dilation` must be between 1 and 2^24 along each axis, got ", dilation);
    kernel.size[axis] = static_cast<int32_t>(kernel_size[axis]);
    kernel.dilation[axis] = static_cast<int32_t>(dilation[axis]);
  }
  return kernel;
}

// Checks that the keys of a grid fit with what a kernel map needs: 64 bits a word along z, a gap of
// the kernel's reach along each axis, and room for one more displacement at either end.
inline void check_kernel_map_keys(const char* op, c10::IntArrayRef spatial_shape,
                                  int64_t batch_size, const KernelShape& kernel) {
  int64_t num_keys = batch_size;
  for (int axis = 0; axis < 3; ++axis) {
    num_keys = saturating_product(num_keys, spatial_shape[axis] + 2 * kernel.reach(axis) + 64);
  }
  check_num_keys(op, spatial_shape, batch_size, num_keys);
}

}  // namespace elite_ops
