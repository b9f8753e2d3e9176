// Kernel maps on CUDA, for every op that makes one. Include it under `#ifdef ELITE_WITH_CUDA`.
#pragma once

#include "cuda.h"
#include "cuda/kernel_map.h"
#include "empty.h"
#include "op.h"

namespace elite_ops {

// in_rows [K, outputs] of a map between two sets of voxels, on the device of `options`.
inline at::Tensor connect_on_cuda(const VoxelSet& inputs, const VoxelSet& outputs,
                                  const KernelGeometry& kernel, const at::TensorOptions& options,
                                  ErrorSource source) {
  at::Tensor in_rows = empty({kernel.num_offsets(), outputs.num_voxels}, options);
  const auto bytes = static_cast<int64_t>(cuda::kernel_map_workspace_bytes(inputs));
  at::Tensor workspace = empty({bytes}, options.dtype(at::kByte));
  C10_CUDA_CHECK(cuda::build_kernel_map(inputs, outputs, kernel, workspace.mutable_data_ptr(),
                                        mutable_data<int32_t>(in_rows), device_error_flag(source),
                                        c10::cuda::getCurrentCUDAStream()));
  return in_rows;
}

// A table [K, columns] from the other side, [K, num_rows].
inline at::Tensor swap_on_cuda(const at::Tensor& rows, int64_t num_rows, ErrorSource source) {
  at::Tensor swapped = empty({rows.size(0), num_rows}, rows.options());
  C10_CUDA_CHECK(cuda::swap_kernel_map(data<int32_t>(rows), rows.size(0), rows.size(1), num_rows,
                                       mutable_data<int32_t>(swapped), device_error_flag(source),
                                       c10::cuda::getCurrentCUDAStream()));
  return swapped;
}

}  // namespace elite_ops
