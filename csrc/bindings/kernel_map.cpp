#include "cpu/kernel_map.h"

#include <torch/library.h>

#include "check.h"
#include "empty.h"
#include "kernel_shape.h"
#ifdef ELITE_WITH_CUDA
#include "cuda.h"
#include "cuda/kernel_map.h"
#endif

namespace elite_ops {
namespace {

constexpr auto kOp = "build_kernel_map";

KernelShape check(const at::Tensor& indices, c10::IntArrayRef spatial_shape, int64_t batch_size,
                  c10::IntArrayRef kernel_size, c10::IntArrayRef dilation) {
  check_dim(kOp, "indices", indices, 2);
  check_size(kOp, "indices", indices, 1, 4);
  check_dtype(kOp, "indices", indices, at::kInt);
  check_row_count(kOp, "indices", indices.size(0));
  check_grid_shape(kOp, spatial_shape, batch_size);
  const KernelShape kernel = checked_kernel_shape(kOp, kernel_size, dilation);
  check_kernel_map_keys(kOp, spatial_shape, batch_size, kernel);
  return kernel;
}

at::Tensor build_kernel_map_cpu(const at::Tensor& indices_, c10::IntArrayRef spatial_shape,
                                int64_t batch_size, c10::IntArrayRef kernel_size,
                                c10::IntArrayRef dilation) {
  const KernelShape kernel = check(indices_, spatial_shape, batch_size, kernel_size, dilation);
  const at::Tensor indices = indices_.contiguous();
  const cpu::VoxelSet voxels{indices.const_data_ptr<int32_t>(),
                             indices.size(0),
                             batch_size,
                             {spatial_shape[0], spatial_shape[1], spatial_shape[2]}};
  at::Tensor neighbors = empty({kernel.num_offsets(), indices.size(0)}, indices.options());
  const cpu::VoxelSetError error = cpu::build_kernel_map(voxels, kernel, voxels.num_voxels,
                                                         neighbors.mutable_data_ptr<int32_t>());
  const int32_t* row = voxels.indices + error.row * 4;
  TORCH_CHECK_INDEX(error.kind != cpu::VoxelSetError::kOutOfRange, kOp,
                    ": `indices` must be inside the grid, got (", row[0], ", ", row[1], ", ",
                    row[2], ", ", row[3], ") at row ", error.row);
  TORCH_CHECK_VALUE(error.kind != cpu::VoxelSetError::kDuplicate, kOp,
                    ": `indices` must be unique, got (", row[0], ", ", row[1], ", ", row[2], ", ",
                    row[3], ") at rows ", error.row, " and ", error.other_row);
  return neighbors;
}

#ifdef ELITE_WITH_CUDA
at::Tensor build_kernel_map_cuda(const at::Tensor& indices_, c10::IntArrayRef spatial_shape,
                                 int64_t batch_size, c10::IntArrayRef kernel_size,
                                 c10::IntArrayRef dilation) {
  const KernelShape kernel = check(indices_, spatial_shape, batch_size, kernel_size, dilation);
  const c10::cuda::CUDAGuard guard(indices_.device());
  const at::Tensor indices = indices_.contiguous();
  const VoxelGrid grid = make_grid(spatial_shape.data(), 1, batch_size, false);
  const int64_t num_voxels = indices.size(0);
  at::Tensor neighbors = empty({kernel.num_offsets(), num_voxels}, indices.options());
  const auto bytes = static_cast<int64_t>(cuda::kernel_map_workspace_bytes(num_voxels, grid));
  at::Tensor workspace = empty({bytes}, indices.options().dtype(at::kByte));
  C10_CUDA_CHECK(cuda::build_kernel_map(
      indices.const_data_ptr<int32_t>(), num_voxels, grid, kernel, workspace.mutable_data_ptr(),
      neighbors.mutable_data_ptr<int32_t>(), device_error_flag(ErrorSource::kBuildKernelMap),
      c10::cuda::getCurrentCUDAStream()));
  return neighbors;
}
#endif

}  // namespace

TORCH_LIBRARY_FRAGMENT(elite_ops, m) {
  m.def(
      "build_kernel_map(Tensor indices, SymInt[] spatial_shape, SymInt batch_size, "
      "int[] kernel_size, int[] dilation) -> Tensor");
}
TORCH_LIBRARY_IMPL(elite_ops, CPU, m) { m.impl("build_kernel_map", &build_kernel_map_cpu); }
#ifdef ELITE_WITH_CUDA
TORCH_LIBRARY_IMPL(elite_ops, CUDA, m) { m.impl("build_kernel_map", &build_kernel_map_cuda); }
#endif

}  // namespace elite_ops
