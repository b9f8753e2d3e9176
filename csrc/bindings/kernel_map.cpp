#include "cpu/kernel_map.h"

#include "empty.h"
#include "kernel_geometry.h"
#include "op.h"
#include "voxel_index.h"
#ifdef ELITE_WITH_CUDA
#include "connect_on_cuda.h"
#endif

namespace elite_ops {
namespace {

// The map of a convolution whose outputs are its inputs, of an odd kernel.
struct BuildKernelMap {
  static constexpr auto kName = "build_kernel_map";

  at::Tensor indices;  // [V, 4]
  VoxelGrid grid;
  KernelGeometry kernel;

  static BuildKernelMap check(const at::Tensor& indices, c10::IntArrayRef spatial_shape,
                              int64_t batch_size, c10::IntArrayRef kernel_size,
                              c10::IntArrayRef dilation) {
    const VoxelGrid grid =
        checked_voxels(kName, "indices", indices, "spatial_shape", spatial_shape, batch_size);
    const KernelGeometry kernel = checked_symmetric_geometry(kName, kernel_size, dilation);
    check_kernel_map_keys(kName, spatial_shape, batch_size, kernel);
    return {indices.contiguous(), grid, kernel};
  }

  VoxelSet voxels() const { return {data<int32_t>(indices), indices.size(0), grid}; }

  at::Tensor run_cpu() const {
    at::Tensor in_rows = empty({kernel.num_offsets(), indices.size(0)}, indices.options());
    const cpu::VoxelSetError error =
        cpu::build_kernel_map(voxels(), kernel, indices.size(0), mutable_data<int32_t>(in_rows));
    check_voxel_set_error(kName, "indices", data<int32_t>(indices), error);
    return in_rows;
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    return connect_on_cuda(voxels(), voxels(), kernel, indices.options(),
                           ErrorSource::kBuildKernelMap);
  }
#endif
};

// The map of a convolution between two sets of voxels.
struct ConnectVoxels {
  static constexpr auto kName = "connect_voxels";

  at::Tensor in_indices;   // [V_in, 4]
  at::Tensor out_indices;  // [V_out, 4]
  VoxelGrid in_grid, out_grid;
  KernelGeometry kernel;

  static ConnectVoxels check(const at::Tensor& in_indices, c10::IntArrayRef in_shape,
                             const at::Tensor& out_indices, c10::IntArrayRef out_shape,
                             int64_t batch_size, c10::IntArrayRef kernel_size,
                             c10::IntArrayRef stride, c10::IntArrayRef padding,
                             c10::IntArrayRef dilation) {
    const VoxelGrid in_grid =
        checked_voxels(kName, "in_indices", in_indices, "in_shape", in_shape, batch_size);
    const VoxelGrid out_grid =
        checked_voxels(kName, "out_indices", out_indices, "out_shape", out_shape, batch_size);
    check_same_device(kName, "out_indices", out_indices, "in_indices", in_indices);
    return {in_indices.contiguous(), out_indices.contiguous(), in_grid, out_grid,
            checked_geometry(kName, kernel_size, stride, padding, dilation)};
  }

  VoxelSet inputs() const { return {data<int32_t>(in_indices), in_indices.size(0), in_grid}; }
  VoxelSet outputs() const { return {data<int32_t>(out_indices), out_indices.size(0), out_grid}; }

  at::Tensor run_cpu() const {
    const cpu::VoxelIndex in_index = checked_index(kName, "in_indices", inputs());
    const cpu::VoxelIndex out_index = checked_index(kName, "out_indices", outputs());
    at::Tensor in_rows = empty({kernel.num_offsets(), out_indices.size(0)}, in_indices.options());
    cpu::connect_voxels(inputs(), in_index, outputs(), out_index, kernel,
                        mutable_data<int32_t>(in_rows));
    return in_rows;
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    return connect_on_cuda(inputs(), outputs(), kernel, in_indices.options(),
                           ErrorSource::kConnectVoxels);
  }
#endif
};

// A map's table from the other side.
struct SwapKernelMap {
  static constexpr auto kName = "swap_kernel_map";

  at::Tensor rows;  // [K, columns]
  int64_t num_rows;

  static SwapKernelMap check(const at::Tensor& rows, int64_t num_rows) {
    check_dim(kName, "rows", rows, 2);
    check_dtype(kName, "rows", rows, at::kInt);
    check_row_count(kName, "rows", rows.size(1));
    TORCH_CHECK_VALUE(num_rows >= 0, kName, ": `num_rows` must not be negative, got ", num_rows);
    check_row_count(kName, "num_rows", num_rows);
    return {rows.contiguous(), num_rows};
  }

  at::Tensor run_cpu() const {
    at::Tensor swapped = empty({rows.size(0), num_rows}, rows.options());
    TORCH_CHECK_INDEX(cpu::swap_kernel_map(data<int32_t>(rows), rows.size(0), rows.size(1),
                                           num_rows, mutable_data<int32_t>(swapped)),
                      kName, ": `rows` must be in [-1, ", num_rows, "), got a number outside");
    return swapped;
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const { return swap_on_cuda(rows, num_rows, ErrorSource::kSwapKernelMap); }
#endif
};

}  // namespace

ELITE_OP(BuildKernelMap,
         "build_kernel_map(Tensor indices, SymInt[] spatial_shape, SymInt batch_size, "
         "int[] kernel_size, int[] dilation) -> Tensor");
ELITE_OP(ConnectVoxels,
         "connect_voxels(Tensor in_indices, SymInt[] in_shape, Tensor out_indices, "
         "SymInt[] out_shape, SymInt batch_size, int[] kernel_size, int[] stride, int[] padding, "
         "int[] dilation) -> Tensor");
ELITE_OP(SwapKernelMap, "swap_kernel_map(Tensor rows, SymInt num_rows) -> Tensor");

}  // namespace elite_ops
