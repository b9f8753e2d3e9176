#include "cpu/output_voxels.h"

#include "empty.h"
#include "kernel_geometry.h"
#include "op.h"
#include "voxel_index.h"
#ifdef ELITE_WITH_CUDA
#include "cuda/output_voxels.h"
#include "device_sizes.h"
#endif

namespace elite_ops {
namespace {

struct OutputVoxels {
  static constexpr auto kName = "output_voxels";

  at::Tensor indices;  // [V, 4]
  VoxelGrid grid, outputs;
  KernelGeometry kernel;
  bool transposed;

  static OutputVoxels check(const at::Tensor& indices, c10::IntArrayRef spatial_shape,
                            int64_t batch_size, c10::IntArrayRef kernel_size,
                            c10::IntArrayRef stride, c10::IntArrayRef padding,
                            c10::IntArrayRef dilation, c10::IntArrayRef output_shape,
                            bool transposed) {
    const VoxelGrid grid =
        checked_voxels(kName, "indices", indices, "spatial_shape", spatial_shape, batch_size);
    const KernelGeometry kernel = checked_geometry(kName, kernel_size, stride, padding, dilation);
    check_grid_shape(kName, "output_shape", output_shape, batch_size);
    check_kernel_map_keys(kName, output_shape, batch_size, {});
    check_row_count(kName, "indices times kernel_size",
                    saturating_product(indices.size(0), kernel.num_offsets()));
    return {indices.contiguous(), grid, make_grid(output_shape.data(), 1, batch_size, false),
            kernel, transposed};
  }

  VoxelSet voxels() const { return {data<int32_t>(indices), indices.size(0), grid}; }

  at::Tensor run_cpu() const {
    const cpu::VoxelIndex index = checked_index(kName, "indices", voxels(), false);
    at::Tensor found;
    cpu::output_voxels(voxels(), index, kernel, transposed, outputs, [&](int64_t rows) {
      found = empty({rows, 4}, indices.options());
      return mutable_data<int32_t>(found);
    });
    return found;
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    const auto stream = c10::cuda::getCurrentCUDAStream();
    const cuda::OutputVoxelsArguments arguments{voxels(), kernel, transposed, outputs};
    const auto bytes = static_cast<int64_t>(cuda::output_voxels_workspace_bytes(arguments));
    at::Tensor workspace = empty({bytes}, indices.options().dtype(at::kByte));
    DeviceSizes sizes(1, indices.options());
    C10_CUDA_CHECK(cuda::count_output_voxels(arguments, workspace.mutable_data_ptr(), sizes.data(),
                                             device_error_flag(ErrorSource::kOutputVoxels),
                                             stream));
    const int64_t rows = *sizes.read(stream).const_data_ptr<int64_t>();
    at::Tensor found = empty({rows, 4}, indices.options());
    C10_CUDA_CHECK(cuda::emit_output_voxels(arguments, workspace.mutable_data_ptr(), rows,
                                            mutable_data<int32_t>(found), stream));
    return found;
  }
#endif
};

}  // namespace

ELITE_OP(OutputVoxels,
         "output_voxels(Tensor indices, SymInt[] spatial_shape, SymInt batch_size, "
         "int[] kernel_size, int[] stride, int[] padding, int[] dilation, SymInt[] output_shape, "
         "bool transposed) -> Tensor");

}  // namespace elite_ops
