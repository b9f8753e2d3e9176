#include "cpu/voxelize.h"

#include <algorithm>
#include <optional>
#include <tuple>
#include <vector>

#include "check.h"
#include "contiguous.h"
#include "cpu/kernel_map.h"
#include "empty.h"
#include "kernel_geometry.h"
#include "op.h"
#include "points.h"
#ifdef ELITE_WITH_CUDA
#include "cuda/voxelize.h"
#include "device_sizes.h"
#endif

namespace elite_ops {
namespace {

constexpr auto kOp = "voxelize";

// For each grid, first those of the scales, then the halved ones, indices [V, 4], point_rows and
// counts [V]; num_voxels [num_grids]; for each scale in_rows [K, V], if kernel maps are wanted.
using Tensors = std::vector<at::Tensor>;
using Result = std::tuple<Tensors, Tensors, Tensors, at::Tensor, Tensors>;

// The grids of a call.
struct Grids {
  std::vector<int64_t> scales;
  std::vector<VoxelGrid> of_scales;
  std::vector<int64_t> halved;    // the numbers of the scales whose grids are halved as well
  std::vector<int64_t> capacity;  // rows of each scale's buffers; empty: as many as voxels

  int num_scales() const { return static_cast<int>(of_scales.size()); }
  int count() const { return num_scales() + static_cast<int>(halved.size()); }
  // The number of the scale that grid `g` belongs to.
  int64_t scale_of(int g) const { return g < num_scales() ? g : halved[g - num_scales()]; }
  VoxelGrid operator[](int g) const {
    const VoxelGrid& grid = of_scales[scale_of(g)];
    return g < num_scales() ? grid : elite_ops::halved(grid);
  }
};

// The grid of a scale, whose keys fit in 63 bits.
VoxelGrid checked_grid(c10::IntArrayRef fine, int64_t scale, int64_t batch_size, bool nested) {
  const VoxelGrid grid = make_grid(fine.data(), scale, batch_size, nested);
  int64_t num_keys = saturating_product(batch_size, grid.words_per_column() * 64);
  for (int axis = 0; axis < 2; ++axis) num_keys = saturating_product(num_keys, grid.shape[axis]);
  check_num_keys(kOp, fine, batch_size, num_keys);
  return grid;
}

// The kernel of the maps that are wanted, if any.
std::optional<KernelGeometry> check_kernel(c10::IntArrayRef kernel_size, const Grids& grids) {
  if (kernel_size.empty()) return std::nullopt;
  const KernelGeometry kernel = checked_symmetric_geometry(kOp, kernel_size, {1, 1, 1});
  for (const VoxelGrid& grid : grids.of_scales) {
    check_kernel_map_keys(kOp, {grid.shape[0], grid.shape[1], grid.shape[2]}, grid.batch_size,
                          kernel);
  }
  return kernel;
}

Grids checked_grids(c10::IntArrayRef spatial_shape, c10::IntArrayRef scales, int64_t batch_size,
                    bool nested, c10::IntArrayRef capacity, c10::IntArrayRef halved) {
  check_grid_shape(kOp, "spatial_shape", spatial_shape, batch_size);
  TORCH_CHECK_VALUE(!scales.empty() && scales.size() <= kMaxScales, kOp,
                    ": `scales` must have between 1 and ", kMaxScales, " entries, got ", scales);
  TORCH_CHECK_VALUE(capacity.empty() || capacity.size() == scales.size(), kOp,
                    ": `capacity` must have one entry for each of `scales`, got ", capacity);
  Grids grids{scales.vec(), {}, {}, capacity.vec()};
  for (const int64_t scale : scales) {
    TORCH_CHECK_VALUE(scale >= 1 && scale <= kMaxCellsPerAxis, kOp,
                      ": `scales` must be between 1 and 2^24, got ", scales);
    grids.of_scales.push_back(checked_grid(spatial_shape, scale, batch_size, nested));
  }
  for (const int64_t rows : capacity) {
    TORCH_CHECK_VALUE(rows >= 0, kOp, ": `capacity` must not be negative, got ", capacity);
    check_row_count(kOp, "capacity", rows);
  }
  TORCH_CHECK_VALUE(halved.size() <= kMaxScales, kOp, ": `halved` must have at most ", kMaxScales,
                    " entries, got ", halved);
  for (const int64_t scale : halved) {
    const auto* place = std::find(scales.begin(), scales.end(), scale);
    TORCH_CHECK_VALUE(place != scales.end(), kOp, ": `halved` must name entries of `scales`, ",
                      scales, ", got ", halved);
    grids.halved.push_back(place - scales.begin());
  }
  return grids;
}

struct Voxelize {
  static constexpr auto kName = kOp;

  at::Tensor points;
  at::Tensor batch_index;
  PointRange range;
  Grids grids;
  std::optional<KernelGeometry> kernel;

  static Voxelize check(const at::Tensor& points, const std::optional<at::Tensor>& batch_index,
                        c10::ArrayRef<double> point_cloud_range, c10::IntArrayRef spatial_shape,
                        c10::IntArrayRef scales, int64_t batch_size, bool nested,
                        c10::IntArrayRef kernel_size, c10::IntArrayRef capacity,
                        c10::IntArrayRef halved) {
    const PointRange range = checked_range(kOp, point_cloud_range);
    check_points(kOp, points, batch_index);
    const Grids grids = checked_grids(spatial_shape, scales, batch_size, nested, capacity, halved);
    return {points.contiguous(), contiguous(batch_index), range, grids,
            check_kernel(kernel_size, grids)};
  }

  PointRows rows() const { return point_rows(points, batch_index); }
  at::TensorOptions options() const { return points.options().dtype(at::kInt); }

  Result run_cpu() const;
#ifdef ELITE_WITH_CUDA
  Result run_cuda() const;
#endif
};

// One call on the CPU: a grid after the other.
class OnCpu {
 public:
  explicit OnCpu(const Voxelize& call)
      : points_(call.rows()), range_(call.range), grids_(call.grids), options_(call.options()) {
    num_voxels_ = empty({grids_.count()}, options_.dtype(at::kLong));
  }

  Result run(const std::optional<KernelGeometry>& kernel) {
    for (int g = 0; g < grids_.count(); ++g) add_voxels(g);
    for (int s = 0; kernel && s < grids_.num_scales(); ++s) add_kernel_map(s, *kernel);
    return {indices_, point_rows_, counts_, num_voxels_, in_rows_};
  }

 private:
  int64_t& num_voxels(int g) { return num_voxels_.mutable_data_ptr<int64_t>()[g]; }

  // How many rows the buffers of a grid with so many voxels have.
  int64_t num_rows(int g, int64_t num_voxels) const {
    if (grids_.capacity.empty()) return num_voxels;
    const int64_t capacity = grids_.capacity[grids_.scale_of(g)];
    TORCH_CHECK_VALUE(num_voxels <= capacity, kOp, ": `capacity` must hold the voxels (",
                      num_voxels, " at scale ", grids_.scales[grids_.scale_of(g)], "), got ",
                      capacity);
    return capacity;
  }

  void add_voxels(int g) {
    const auto allocate = [&](int64_t size) {
      const int64_t rows = num_rows(g, size);
      at::Tensor& indices = indices_.emplace_back(empty({rows, 4}, options_));
      at::Tensor& counts = counts_.emplace_back(empty({rows}, options_));
      return cpu::VoxelRows{indices.mutable_data_ptr<int32_t>(),
                            counts.mutable_data_ptr<int32_t>()};
    };
    if (g < grids_.num_scales()) {
      at::Tensor& point_rows = point_rows_.emplace_back(empty({points_.num_points}, options_));
      num_voxels(g) = cpu::voxelize(points_, range_, grids_[g],
                                    point_rows.mutable_data_ptr<int32_t>(), allocate);
      return;
    }
    const auto fine = static_cast<int>(grids_.scale_of(g));
    const at::Tensor indices = indices_[fine];
    at::Tensor& point_rows = point_rows_.emplace_back(empty({indices.size(0)}, options_));
    auto* rows = point_rows.mutable_data_ptr<int32_t>();
    num_voxels(g) = cpu::halve_voxels(indices.const_data_ptr<int32_t>(), num_voxels(fine),
                                      grids_[g], rows, allocate);
    std::fill(rows + num_voxels(fine), rows + indices.size(0), -1);
  }

  void add_kernel_map(int s, const KernelGeometry& kernel) {
    const at::Tensor& indices = indices_[s];
    at::Tensor& in_rows =
        in_rows_.emplace_back(empty({kernel.num_offsets(), indices.size(0)}, options_));
    cpu::build_kernel_map({data<int32_t>(indices), num_voxels(s), grids_[s]}, kernel,
                          indices.size(0), mutable_data<int32_t>(in_rows));
  }

  const PointRows points_;
  const PointRange& range_;
  const Grids& grids_;
  at::TensorOptions options_;
  at::Tensor num_voxels_;
  Tensors indices_, point_rows_, counts_, in_rows_;
};

Result Voxelize::run_cpu() const {
  check_samples(kOp, rows(), grids.of_scales.front().batch_size);
  return OnCpu(*this).run(kernel);
}

#ifdef ELITE_WITH_CUDA
cuda::VoxelizeArguments cuda_arguments(const PointRows& points, const PointRange& range,
                                       const Grids& grids) {
  cuda::VoxelizeArguments arguments{points, range, grids.count(), {}};
  for (int g = 0; g < grids.count(); ++g) {
    const int64_t scale = grids.scale_of(g);
    arguments.grids[g] = {
        grids[g], g < grids.num_scales() ? cuda::kOfPoints : static_cast<int>(scale),
        grids.capacity.empty() ? std::numeric_limits<int64_t>::max() : grids.capacity[scale]};
  }
  return arguments;
}

Result Voxelize::run_cuda() const {
  const auto stream = c10::cuda::getCurrentCUDAStream();
  cuda::VoxelizeArguments arguments = cuda_arguments(rows(), range, grids);
  const auto workspace_bytes = static_cast<int64_t>(cuda::voxelize_workspace_bytes(arguments));
  at::Tensor workspace = empty({workspace_bytes}, options().dtype(at::kByte));
  DeviceSizes num_voxels(grids.count(), options());
  C10_CUDA_CHECK(cuda::count_voxels(arguments, workspace.mutable_data_ptr(), num_voxels.data(),
                                    device_error_flag(ErrorSource::kVoxelize), stream));
  if (grids.capacity.empty()) {
    const at::Tensor sizes = num_voxels.read(stream);
    for (int g = 0; g < grids.count(); ++g) {
      arguments.grids[g].capacity = sizes.const_data_ptr<int64_t>()[g];
    }
  }

  Result result;
  auto& [all_indices, all_point_rows, all_counts, _, all_in_rows] = result;
  std::vector<cuda::VoxelRows> voxels;
  for (int g = 0; g < grids.count(); ++g) {
    const cuda::GridArguments& grid = arguments.grids[g];
    const bool of_points = grid.of == cuda::kOfPoints;
    all_indices.push_back(empty({grid.capacity, 4}, options()));
    all_point_rows.push_back(
        empty({of_points ? points.size(0) : arguments.grids[grid.of].capacity}, options()));
    all_counts.push_back(empty({grid.capacity}, options()));
    voxels.push_back({all_indices[g].mutable_data_ptr<int32_t>(),
                      all_point_rows[g].mutable_data_ptr<int32_t>(),
                      all_counts[g].mutable_data_ptr<int32_t>()});
  }
  C10_CUDA_CHECK(cuda::emit_voxels(arguments, workspace.mutable_data_ptr(), voxels.data(),
                                   num_voxels.data(), stream));
  std::get<3>(result) = num_voxels.sizes();
  if (!kernel) return result;

  std::vector<int32_t*> tables;
  for (int s = 0; s < grids.num_scales(); ++s) {
    at::Tensor& in_rows = all_in_rows.emplace_back(
        empty({kernel->num_offsets(), arguments.grids[s].capacity}, options()));
    tables.push_back(in_rows.mutable_data_ptr<int32_t>());
  }
  C10_CUDA_CHECK(cuda::find_voxel_neighbors(arguments, workspace.mutable_data_ptr(), voxels.data(),
                                            num_voxels.data(), *kernel, tables.data(), stream));
  return result;
}
#endif

// One scale, in as many tensors whatever is asked for, and no list that may be empty: programs
// compiled ahead of time can call it. Without a kernel, in_rows is [0, V].
struct VoxelizeScale {
  static constexpr auto kName = "voxelize_scale";
  using Tensors = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

  Voxelize call;

  static VoxelizeScale check(const at::Tensor& points, const std::optional<at::Tensor>& batch_index,
                             c10::ArrayRef<double> point_cloud_range,
                             c10::IntArrayRef spatial_shape, int64_t scale, int64_t batch_size,
                             bool nested, at::OptionalIntArrayRef kernel_size,
                             std::optional<int64_t> capacity) {
    using Ints = c10::IntArrayRef;
    return {Voxelize::check(points, batch_index, point_cloud_range, spatial_shape, scale,
                            batch_size, nested, kernel_size.value_or(Ints()),
                            capacity ? Ints(*capacity) : Ints(), {})};
  }

  Tensors run_cpu() const { return only(call.run_cpu()); }
#ifdef ELITE_WITH_CUDA
  Tensors run_cuda() const { return only(call.run_cuda()); }
#endif

 private:
  Tensors only(const Result& result) const {
    const auto& [indices, point_rows, counts, num_voxels, in_rows] = result;
    return {indices[0], point_rows[0], counts[0], num_voxels.squeeze(0),
            call.kernel ? in_rows[0] : empty({0, indices[0].size(0)}, call.options())};
  }
};

}  // namespace

ELITE_OP(Voxelize,
         "voxelize(Tensor points, Tensor? batch_index, float[] point_cloud_range, "
         "SymInt[] spatial_shape, int[] scales, SymInt batch_size, bool nested, int[] kernel_size, "
         "SymInt[] capacity=[], int[] halved=[]) "
         "-> (Tensor[] indices, Tensor[] point_rows, Tensor[] counts, Tensor num_voxels, "
         "Tensor[] in_rows)");
ELITE_OP(
    VoxelizeScale,
    "voxelize_scale(Tensor points, Tensor? batch_index, float[] point_cloud_range, "
    "SymInt[] spatial_shape, int scale, SymInt batch_size, bool nested, int[]? kernel_size=None, "
    "SymInt? capacity=None) "
    "-> (Tensor indices, Tensor point_rows, Tensor counts, Tensor num_voxels, "
    "Tensor in_rows)");

}  // namespace elite_ops
