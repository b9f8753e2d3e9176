// Checks of a convolution's geometry and of voxels, shared by the bindings of kernel maps.
#pragma once

#include "check.h"
#include "common/kernel_geometry.h"
#include "common/voxel_set.h"
#include "grid.h"

namespace elite_ops {

constexpr int64_t kMaxKernelSize = 7;

inline void copy_per_axis(const char* op, const char* name, c10::IntArrayRef values, int64_t least,
                          int64_t most, int32_t* to) {
  TORCH_CHECK_VALUE(values.size() == 3, op, ": `", name, "` must have 3 entries, got ", values);
  for (int axis = 0; axis < 3; ++axis) {
    TORCH_CHECK_VALUE(values[axis] >= least && values[axis] <= most, op, ": `", name,
                      "` must be between ", least, " and ", most, " along each axis, got ", values);
    to[axis] = static_cast<int32_t>(values[axis]);
  }
}

inline KernelGeometry checked_geometry(const char* op, c10::IntArrayRef kernel_size,
                                       c10::IntArrayRef stride, c10::IntArrayRef padding,
                                       c10::IntArrayRef dilation) {
  KernelGeometry geometry;
  copy_per_axis(op, "kernel_size", kernel_size, 1, kMaxKernelSize, geometry.size);
  copy_per_axis(op, "stride", stride, 1, kMaxCellsPerAxis, geometry.stride);
  copy_per_axis(op, "padding", padding, 0, kMaxCellsPerAxis, geometry.padding);
  copy_per_axis(op, "dilation", dilation, 1, kMaxCellsPerAxis, geometry.dilation);
  return geometry;
}

inline KernelGeometry checked_submanifold_geometry(const char* op, c10::IntArrayRef kernel_size,
                                                   c10::IntArrayRef dilation) {
  const KernelGeometry geometry = checked_geometry(op, kernel_size, {1, 1, 1}, {0, 0, 0}, dilation);
  return submanifold_geometry(geometry.size, geometry.dilation);
}

// The symmetric geometry of an odd kernel.
inline KernelGeometry checked_symmetric_geometry(const char* op, c10::IntArrayRef kernel_size,
                                                 c10::IntArrayRef dilation) {
  const KernelGeometry geometry = checked_submanifold_geometry(op, kernel_size, dilation);
  TORCH_CHECK_VALUE(geometry.is_symmetric(), op,
                    ": `kernel_size` must be 1, 3, 5 or 7 along each axis, got ", kernel_size);
  return geometry;
}

// Checks that the keys of a grid fit with what a kernel map needs: 64 bits a word along z, a gap of
// the kernel's padding along each axis, and room for one more displacement at either end.
inline void check_kernel_map_keys(const char* op, c10::IntArrayRef spatial_shape,
                                  int64_t batch_size, const KernelGeometry& kernel) {
  int64_t num_keys = batch_size;
  for (int axis = 0; axis < 3; ++axis) {
    num_keys = saturating_product(num_keys, spatial_shape[axis] + 2 * kernel.padding[axis] + 64);
  }
  check_num_keys(op, spatial_shape, batch_size, num_keys);
}

// Checks a set of voxels, and returns its grid.
inline VoxelGrid checked_voxels(const char* op, const char* name, const at::Tensor& indices,
                                const char* shape_name, c10::IntArrayRef shape,
                                int64_t batch_size) {
  check_dim(op, name, indices, 2);
  check_size(op, name, indices, 1, 4);
  check_dtype(op, name, indices, at::kInt);
  check_row_count(op, name, indices.size(0));
  check_grid_shape(op, shape_name, shape, batch_size);
  check_kernel_map_keys(op, shape, batch_size, {});
  return make_grid(shape.data(), 1, batch_size, false);
}

}  // namespace elite_ops
