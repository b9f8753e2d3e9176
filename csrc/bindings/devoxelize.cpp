#include "cpu/devoxelize.h"

#include <optional>
#include <tuple>

#include "contiguous.h"
#include "empty.h"
#include "kernel_geometry.h"
#include "op.h"
#include "points.h"
#include "voxel_index.h"
#ifdef ELITE_WITH_CUDA
#include "cuda/devoxelize.h"
#endif

namespace elite_ops {
namespace {

// The rows of the voxels that points take their features from, and the weights.
struct Devoxelize {
  static constexpr auto kName = "devoxelize";
  using Result = std::tuple<at::Tensor, at::Tensor>;  // [N, corners] int32 and float

  at::Tensor indices;  // [V, 4]
  at::Tensor points;   // [N, 3 + F]
  at::Tensor batch_index;
  PointRange range;
  VoxelGrid grid;
  bool nearest;

  static Devoxelize check(const at::Tensor& indices, c10::IntArrayRef spatial_shape,
                          int64_t batch_size, const at::Tensor& points,
                          const std::optional<at::Tensor>& batch_index,
                          c10::ArrayRef<double> point_cloud_range, bool nearest) {
    const VoxelGrid grid =
        checked_voxels(kName, "voxels", indices, "spatial_shape", spatial_shape, batch_size);
    check_points(kName, points, batch_index);
    check_same_device(kName, "points", points, "voxels", indices);
    check_row_count(kName, "points", points.size(0) * kNumCorners);
    return {indices.contiguous(),
            points.contiguous(),
            contiguous(batch_index),
            checked_range(kName, point_cloud_range),
            grid,
            nearest};
  }

  VoxelSet voxels() const { return {data<int32_t>(indices), indices.size(0), grid}; }
  Devoxelization call() const { return {point_rows(points, batch_index), range, grid, nearest}; }
  Result allocate() const {
    const int64_t corners = call().corners();
    return {empty({points.size(0), corners}, indices.options()),
            empty({points.size(0), corners}, points.options())};
  }

  Result run_cpu() const {
    check_samples(kName, call().points, grid.batch_size);
    const cpu::VoxelIndex index = checked_index(kName, "voxels", voxels());
    auto [rows, weights] = allocate();
    cpu::devoxelize(call(), index, mutable_data<int32_t>(rows), mutable_data<float>(weights));
    return {rows, weights};
  }

#ifdef ELITE_WITH_CUDA
  Result run_cuda() const {
    auto [rows, weights] = allocate();
    const auto bytes = static_cast<int64_t>(cuda::devoxelize_workspace_bytes(voxels()));
    at::Tensor workspace = empty({bytes}, indices.options().dtype(at::kByte));
    C10_CUDA_CHECK(cuda::devoxelize(call(), voxels(), workspace.mutable_data_ptr(),
                                    mutable_data<int32_t>(rows), mutable_data<float>(weights),
                                    device_error_flag(ErrorSource::kDevoxelize),
                                    c10::cuda::getCurrentCUDAStream()));
    return {rows, weights};
  }
#endif
};

}  // namespace

ELITE_OP(Devoxelize,
         "devoxelize(Tensor indices, SymInt[] spatial_shape, SymInt batch_size, Tensor points, "
         "Tensor? batch_index, float[] point_cloud_range, bool nearest) "
         "-> (Tensor rows, Tensor weights)");

}  // namespace elite_ops
