#include "cpu/voxelize.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <tuple>
#include <vector>

#include "check.h"
#include "cpu/kernel_map.h"
#include "kernel_shape.h"
#ifdef ELITE_WITH_CUDA
#include "cuda.h"
#include "cuda/voxelize.h"
#include "device_error.h"
#endif

namespace elite_ops {
namespace {

constexpr auto kOp = "voxelize";

// For each scale indices [V, 4], inverse [N] and counts [V]; num_voxels [num_scales]; for each
// scale neighbors [K, V], if kernel maps are wanted.
using Tensors = std::vector<at::Tensor>;
using Result = std::tuple<Tensors, Tensors, Tensors, at::Tensor, Tensors>;

PointRange make_range(c10::ArrayRef<double> bounds) {
  TORCH_CHECK_VALUE(bounds.size() == 6, kOp, ": `point_cloud_range` must have 6 entries, got ",
                    bounds);
  PointRange range;
  for (int axis = 0; axis < 3; ++axis) {
    range.min[axis] = static_cast<float>(bounds[axis]);
    range.max[axis] = static_cast<float>(bounds[axis + 3]);
    range.extent[axis] = static_cast<float>(bounds[axis + 3] - bounds[axis]);
    TORCH_CHECK_VALUE(
        range.min[axis] < range.max[axis] && std::isfinite(range.extent[axis]), kOp,
        ": `point_cloud_range` must be finite with each minimum below its maximum, got ", bounds);
  }
  return range;
}

// The grid of a scale, whose keys fit in 63 bits.
VoxelGrid checked_grid(c10::IntArrayRef fine, int64_t scale, int64_t batch_size, bool nested) {
  const VoxelGrid grid = make_grid(fine.data(), scale, batch_size, nested);
  int64_t num_keys = saturating_product(batch_size, grid.words_per_column() * 64);
  for (int axis = 0; axis < 2; ++axis) num_keys = saturating_product(num_keys, grid.shape[axis]);
  check_num_keys(kOp, fine, batch_size, num_keys);
  return grid;
}

// The kernel of the maps that are wanted, if any.
std::optional<KernelShape> check_kernel(c10::IntArrayRef kernel_size,
                                        const std::vector<VoxelGrid>& grids) {
  if (kernel_size.empty()) return std::nullopt;
  const KernelShape kernel = checked_kernel_shape(kOp, kernel_size, {1, 1, 1});
  for (const VoxelGrid& grid : grids) {
    check_kernel_map_keys(kOp, {grid.shape[0], grid.shape[1], grid.shape[2]}, grid.batch_size,
                          kernel);
  }
  return kernel;
}

PointRows point_rows(const at::Tensor& points, const at::Tensor& batch_index) {
  return {points.const_data_ptr<float>(), points.size(0), points.size(1),
          batch_index.defined() ? batch_index.const_data_ptr<int64_t>() : nullptr};
}

// Checks every argument; the grids of the scales.
std::vector<VoxelGrid> check(const at::Tensor& points, const std::optional<at::Tensor>& batch_index,
                             c10::IntArrayRef spatial_shape, c10::IntArrayRef scales,
                             int64_t batch_size, bool nested) {
  check_dim(kOp, "points", points, 2);
  TORCH_CHECK_VALUE(points.size(1) >= 3, kOp, ": `points` must have at least 3 columns, got shape ",
                    points.sizes());
  check_dtype(kOp, "points", points, at::kFloat);
  check_row_count(kOp, "points", points.size(0));
  if (batch_index) {
    check_dim(kOp, "batch_index", *batch_index, 1);
    check_size(kOp, "batch_index", *batch_index, 0, points.size(0));
    check_dtype(kOp, "batch_index", *batch_index, at::kLong);
    check_same_device(kOp, "batch_index", *batch_index, "points", points);
  }
  check_grid_shape(kOp, spatial_shape, batch_size);
  TORCH_CHECK_VALUE(!scales.empty() && scales.size() <= kMaxScales, kOp,
                    ": `scales` must have between 1 and ", kMaxScales, " entries, got ", scales);
  std::vector<VoxelGrid> grids;
  for (const int64_t scale : scales) {
    TORCH_CHECK_VALUE(scale >= 1 && scale <= kMaxCellsPerAxis, kOp,
                      ": `scales` must be between 1 and 2^24, got ", scales);
    grids.push_back(checked_grid(spatial_shape, scale, batch_size, nested));
  }
  return grids;
}

Result voxelize_cpu(const at::Tensor& points_, const std::optional<at::Tensor>& batch_index_,
                    c10::ArrayRef<double> point_cloud_range, c10::IntArrayRef spatial_shape,
                    c10::IntArrayRef scales, int64_t batch_size, bool nested,
                    c10::IntArrayRef kernel_size) {
  const PointRange range = make_range(point_cloud_range);
  const std::vector<VoxelGrid> grids =
      check(points_, batch_index_, spatial_shape, scales, batch_size, nested);
  const std::optional<KernelShape> kernel = check_kernel(kernel_size, grids);
  const at::Tensor points = points_.contiguous();
  const at::Tensor batch_index = batch_index_ ? batch_index_->contiguous() : at::Tensor();
  const PointRows rows = point_rows(points, batch_index);
  const int64_t outside = cpu::first_outside_batch(rows, batch_size);
  TORCH_CHECK_INDEX(outside == rows.num_points, kOp,
                    ": `batch_index` must be at least 0 and below `batch_size` (", batch_size,
                    "), got ", rows.batch_index[outside], " at row ", outside);
  const auto options = points.options().dtype(at::kInt);
  const auto num_scales = static_cast<int64_t>(grids.size());
  at::Tensor num_voxels = at::empty({num_scales}, options.dtype(at::kLong));
  Result result;
  auto& [all_indices, all_inverse, all_counts, _, all_neighbors] = result;
  for (int64_t s = 0; s < num_scales; ++s) {
    at::Tensor inverse = at::empty({rows.num_points}, options);
    const auto allocate = [&](int64_t size) {
      at::Tensor& indices = all_indices.emplace_back(at::empty({size, 4}, options));
      at::Tensor& counts = all_counts.emplace_back(at::empty({size}, options));
      return cpu::VoxelRows{indices.mutable_data_ptr<int32_t>(),
                            counts.mutable_data_ptr<int32_t>()};
    };
    num_voxels.mutable_data_ptr<int64_t>()[s] =
        cpu::voxelize(rows, range, grids[s], inverse.mutable_data_ptr<int32_t>(), allocate);
    all_inverse.push_back(inverse);
    if (!kernel) continue;
    const at::Tensor& indices = all_indices.back();
    at::Tensor& neighbors = all_neighbors.emplace_back(
        at::empty({kernel->num_offsets(), indices.size(0)}, indices.options()));
    const auto& shape = grids[s].shape;
    cpu::build_kernel_map({indices.const_data_ptr<int32_t>(),
                           indices.size(0),
                           batch_size,
                           {shape[0], shape[1], shape[2]}},
                          *kernel, neighbors.mutable_data_ptr<int32_t>());
  }
  std::get<3>(result) = num_voxels;
  return result;
}

#ifdef ELITE_WITH_CUDA
// Copies the sizes to the host, which waits for the device, and raises what kernels have reported.
at::Tensor read_sizes(const at::Tensor& num_voxels) {
  const at::Tensor sizes = num_voxels.to(at::kCPU);
  const int32_t errors = take_device_errors(num_voxels.get_device());
  TORCH_CHECK_INDEX(errors == 0, kOp,
                    ": a kernel found an entry of `batch_index`, or an index of an earlier op, "
                    "outside its range (error flag ",
                    errors, ")");
  return sizes;
}

Result voxelize_cuda(const at::Tensor& points_, const std::optional<at::Tensor>& batch_index_,
                     c10::ArrayRef<double> point_cloud_range, c10::IntArrayRef spatial_shape,
                     c10::IntArrayRef scales, int64_t batch_size, bool nested,
                     c10::IntArrayRef kernel_size) {
  cuda::VoxelizeArguments arguments{};
  arguments.range = make_range(point_cloud_range);
  const std::vector<VoxelGrid> grids =
      check(points_, batch_index_, spatial_shape, scales, batch_size, nested);
  const std::optional<KernelShape> kernel = check_kernel(kernel_size, grids);
  const c10::cuda::CUDAGuard guard(points_.device());
  const auto stream = c10::cuda::getCurrentCUDAStream();
  const at::Tensor points = points_.contiguous();
  const at::Tensor batch_index = batch_index_ ? batch_index_->contiguous() : at::Tensor();
  arguments.points = point_rows(points, batch_index);
  arguments.num_scales = static_cast<int>(grids.size());
  std::copy(grids.begin(), grids.end(), arguments.grids);

  const auto options = points.options().dtype(at::kInt);
  const auto workspace_bytes = static_cast<int64_t>(cuda::voxelize_workspace_bytes(arguments));
  at::Tensor workspace = at::empty({workspace_bytes}, options.dtype(at::kByte));
  at::Tensor num_voxels = at::empty({arguments.num_scales}, options.dtype(at::kLong));
  C10_CUDA_CHECK(cuda::count_voxels(arguments, workspace.mutable_data_ptr(),
                                    num_voxels.mutable_data_ptr<int64_t>(), device_error_flag(),
                                    stream));
  const at::Tensor sizes = read_sizes(num_voxels);

  Result result;
  auto& [all_indices, all_inverse, all_counts, _, all_neighbors] = result;
  std::vector<cuda::VoxelRows> voxels;
  for (int s = 0; s < arguments.num_scales; ++s) {
    const int64_t size = sizes.const_data_ptr<int64_t>()[s];
    all_indices.push_back(at::empty({size, 4}, options));
    all_inverse.push_back(at::empty({points.size(0)}, options));
    all_counts.push_back(at::empty({size}, options));
    voxels.push_back({all_indices[s].mutable_data_ptr<int32_t>(),
                      all_inverse[s].mutable_data_ptr<int32_t>(),
                      all_counts[s].mutable_data_ptr<int32_t>()});
  }
  C10_CUDA_CHECK(cuda::emit_voxels(arguments, workspace.mutable_data_ptr(), voxels.data(),
                                   sizes.const_data_ptr<int64_t>(), stream));
  std::get<3>(result) = num_voxels;
  if (!kernel) return result;

  std::vector<int32_t*> tables;
  for (int s = 0; s < arguments.num_scales; ++s) {
    at::Tensor& neighbors = all_neighbors.emplace_back(
        at::empty({kernel->num_offsets(), sizes.const_data_ptr<int64_t>()[s]}, options));
    tables.push_back(neighbors.mutable_data_ptr<int32_t>());
  }
  C10_CUDA_CHECK(cuda::find_voxel_neighbors(arguments, workspace.mutable_data_ptr(), voxels.data(),
                                            sizes.const_data_ptr<int64_t>(), *kernel, tables.data(),
                                            stream));
  return result;
}
#endif

}  // namespace

TORCH_LIBRARY_FRAGMENT(elite_ops, m) {
  m.def(
      "voxelize(Tensor points, Tensor? batch_index, float[] point_cloud_range, "
      "SymInt[] spatial_shape, int[] scales, SymInt batch_size, bool nested, int[] kernel_size) "
      "-> (Tensor[] indices, Tensor[] inverse, Tensor[] counts, Tensor num_voxels, "
      "Tensor[] neighbors)");
}
TORCH_LIBRARY_IMPL(elite_ops, CPU, m) { m.impl("voxelize", &voxelize_cpu); }
#ifdef ELITE_WITH_CUDA
TORCH_LIBRARY_IMPL(elite_ops, CUDA, m) { m.impl("voxelize", &voxelize_cuda); }
#endif

}  // namespace elite_ops
