#include "cpu/output_voxels.h"

#include <tuple>

#include "empty.h"
#include "kernel_geometry.h"
#include "op.h"
#include "voxel_index.h"
#ifdef ELITE_WITH_CUDA
#include "connect_on_cuda.h"
#include "cuda/output_voxels.h"
#include "device_sizes.h"
#endif

namespace elite_ops {
namespace {

// What both ops take.
struct Reached {
  at::Tensor indices;  // [V, 4]
  VoxelGrid grid, outputs;
  KernelGeometry kernel;
  bool transposed;

  static Reached check(const char* op, const at::Tensor& indices, c10::IntArrayRef spatial_shape,
                       int64_t batch_size, c10::IntArrayRef kernel_size, c10::IntArrayRef stride,
                       c10::IntArrayRef padding, c10::IntArrayRef dilation,
                       c10::IntArrayRef output_shape, bool transposed) {
    const VoxelGrid grid =
        checked_voxels(op, "indices", indices, "spatial_shape", spatial_shape, batch_size);
    const KernelGeometry kernel = checked_geometry(op, kernel_size, stride, padding, dilation);
    check_grid_shape(op, "output_shape", output_shape, batch_size);
    check_kernel_map_keys(op, output_shape, batch_size, {});
    check_row_count(op, "indices times kernel_size",
                    saturating_product(indices.size(0), kernel.num_offsets()));
    return {indices.contiguous(), grid, make_grid(output_shape.data(), 1, batch_size, false),
            kernel, transposed};
  }

  VoxelSet voxels() const { return {data<int32_t>(indices), indices.size(0), grid}; }

  // The output voxels, and where pairs are wanted, the map.
  std::tuple<at::Tensor, at::Tensor> on_cpu(const char* op, bool with_pairs) const {
    const cpu::VoxelIndex index = checked_index(op, "indices", voxels(), with_pairs);
    at::Tensor found, in_rows;
    cpu::output_voxels(voxels(), index, kernel, transposed, outputs, [&](int64_t rows) {
      found = empty({rows, 4}, indices.options());
      if (with_pairs) in_rows = empty({kernel.num_offsets(), rows}, indices.options());
      return cpu::OutputVoxels{mutable_data<int32_t>(found),
                               with_pairs ? mutable_data<int32_t>(in_rows) : nullptr};
    });
    return {found, in_rows};
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor find_on_cuda(ErrorSource source) const {
    const auto stream = c10::cuda::getCurrentCUDAStream();
    const cuda::OutputVoxelsArguments arguments{voxels(), kernel, transposed, outputs};
    const auto bytes = static_cast<int64_t>(cuda::output_voxels_workspace_bytes(arguments));
    at::Tensor workspace = empty({bytes}, indices.options().dtype(at::kByte));
    DeviceSizes sizes(1, indices.options());
    C10_CUDA_CHECK(cuda::count_output_voxels(arguments, workspace.mutable_data_ptr(), sizes.data(),
                                             device_error_flag(source), stream));
    const int64_t rows = *sizes.read(stream).const_data_ptr<int64_t>();
    at::Tensor found = empty({rows, 4}, indices.options());
    C10_CUDA_CHECK(cuda::emit_output_voxels(arguments, workspace.mutable_data_ptr(), rows,
                                            mutable_data<int32_t>(found), stream));
    return found;
  }
#endif
};

struct OutputVoxels {
  static constexpr auto kName = "output_voxels";

  Reached reached;

  static OutputVoxels check(const at::Tensor& indices, c10::IntArrayRef spatial_shape,
                            int64_t batch_size, c10::IntArrayRef kernel_size,
                            c10::IntArrayRef stride, c10::IntArrayRef padding,
                            c10::IntArrayRef dilation, c10::IntArrayRef output_shape,
                            bool transposed) {
    return {Reached::check(kName, indices, spatial_shape, batch_size, kernel_size, stride, padding,
                           dilation, output_shape, transposed)};
  }

  at::Tensor run_cpu() const { return std::get<0>(reached.on_cpu(kName, false)); }
#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const { return reached.find_on_cuda(ErrorSource::kOutputVoxels); }
#endif
};

struct BuildStridedMap {
  static constexpr auto kName = "build_strided_map";
  using Result = std::tuple<at::Tensor, at::Tensor>;

  Reached reached;

  static BuildStridedMap check(const at::Tensor& indices, c10::IntArrayRef spatial_shape,
                               int64_t batch_size, c10::IntArrayRef kernel_size,
                               c10::IntArrayRef stride, c10::IntArrayRef padding,
                               c10::IntArrayRef dilation, c10::IntArrayRef output_shape,
                               bool transposed) {
    return {Reached::check(kName, indices, spatial_shape, batch_size, kernel_size, stride, padding,
                           dilation, output_shape, transposed)};
  }

  Result run_cpu() const { return reached.on_cpu(kName, true); }

#ifdef ELITE_WITH_CUDA
  Result run_cuda() const {
    constexpr auto source = ErrorSource::kBuildStridedMap;
    const at::Tensor found = reached.find_on_cuda(source);
    const VoxelSet inputs = reached.voxels();
    const VoxelSet outputs{data<int32_t>(found), found.size(0), reached.outputs};
    const auto options = found.options();
    if (!reached.transposed) {
      return {found, connect_on_cuda(inputs, outputs, reached.kernel, options, source)};
    }
    const at::Tensor out_rows = connect_on_cuda(outputs, inputs, reached.kernel, options, source);
    return {found, swap_on_cuda(out_rows, outputs.num_voxels, source)};
  }
#endif
};

}  // namespace

ELITE_OP(OutputVoxels,
         "output_voxels(Tensor indices, SymInt[] spatial_shape, SymInt batch_size, "
         "int[] kernel_size, int[] stride, int[] padding, int[] dilation, SymInt[] output_shape, "
         "bool transposed) -> Tensor");
ELITE_OP(BuildStridedMap,
         "build_strided_map(Tensor indices, SymInt[] spatial_shape, SymInt batch_size, "
         "int[] kernel_size, int[] stride, int[] padding, int[] dilation, SymInt[] output_shape, "
         "bool transposed) -> (Tensor out_indices, Tensor in_rows)");

}  // namespace elite_ops
