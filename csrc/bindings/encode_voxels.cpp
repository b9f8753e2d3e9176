#include "cpu/encode_voxels.h"

#include <ATen/Dispatch.h>
#include <torch/library.h>

#include <algorithm>
#include <optional>

#include "compute_type.h"
#include "empty.h"
#include "segments.h"
#ifdef ELITE_WITH_CUDA
#include "cuda.h"
#include "cuda/encode_voxels.h"
#endif

namespace elite_ops {
namespace {

constexpr const char* kOp = "encode_voxels";

void check_axes(const char* name, c10::ArrayRef<double> values) {
  TORCH_CHECK_VALUE(values.size() == 3, kOp, ": `", name, "` must have 3 entries, got ", values);
}

void check(const at::Tensor& points, const at::Tensor& inverse, const at::Tensor& order,
           const at::Tensor& offsets, const at::Tensor& indices, const at::Tensor& weight,
           const at::Tensor& bias, c10::ArrayRef<double> voxel_size, c10::ArrayRef<double> origin,
           const std::optional<at::Tensor>& num_rows) {
  check_dim(kOp, "points", points, 2);
  TORCH_CHECK_VALUE(points.size(1) >= 3, kOp, ": `points` must have at least 3 columns, got shape ",
                    points.sizes());
  check_dtype(kOp, "points", points, at::kFloat);
  check_segments(kOp, inverse, order, offsets, "points", points);
  check_size(kOp, "segments.inverse", inverse, 0, points.size(0));
  check_dim(kOp, "indices", indices, 2);
  check_size(kOp, "indices", indices, 0, offsets.size(0) - 1);
  check_size(kOp, "indices", indices, 1, 4);
  check_dtype(kOp, "indices", indices, at::kInt);
  check_same_device(kOp, "indices", indices, "points", points);
  check_dim(kOp, "weight", weight, 2);
  check_floating(kOp, "weight", weight);
  check_size(kOp, "weight", weight, 0, points.size(1) + 6);
  check_same_device(kOp, "weight", weight, "points", points);
  check_dim(kOp, "bias", bias, 1);
  check_size(kOp, "bias", bias, 0, weight.size(1));
  check_dtype(kOp, "bias", bias, weight.scalar_type());
  check_same_device(kOp, "bias", bias, "points", points);
  check_axes("voxel_size", voxel_size);
  check_axes("origin", origin);
  check_num_rows(kOp, num_rows, indices.size(0), "points", points);
}

VoxelPoints voxel_points(const at::Tensor& points, const at::Tensor& order,
                         const at::Tensor& offsets, const at::Tensor& indices,
                         c10::ArrayRef<double> voxel_size, c10::ArrayRef<double> origin,
                         const std::optional<at::Tensor>& num_rows) {
  VoxelPoints voxels{points.const_data_ptr<float>(),
                     points.size(1),
                     indices.const_data_ptr<int32_t>(),
                     as_csr(order, offsets, num_rows_data(num_rows)),
                     {},
                     {}};
  std::transform(origin.begin(), origin.end(), voxels.origin,
                 [](double x) { return static_cast<float>(x); });
  std::transform(voxel_size.begin(), voxel_size.end(), voxels.voxel_size,
                 [](double x) { return static_cast<float>(x); });
  return voxels;
}

at::Tensor encode_voxels_cpu(const at::Tensor& points_, const at::Tensor& inverse,
                             const at::Tensor& order_, const at::Tensor& offsets_,
                             const at::Tensor& indices_, const at::Tensor& weight_,
                             const at::Tensor& bias_, c10::ArrayRef<double> voxel_size,
                             c10::ArrayRef<double> origin, double negative_slope,
                             const std::optional<at::Tensor>& num_rows) {
  check(points_, inverse, order_, offsets_, indices_, weight_, bias_, voxel_size, origin, num_rows);
  const at::Tensor points = points_.contiguous(), indices = indices_.contiguous();
  const at::Tensor order = order_.contiguous(), offsets = offsets_.contiguous();
  const at::Tensor weight = as_computed(weight_), bias = as_computed(bias_);
  const VoxelPoints voxels =
      voxel_points(points, order, offsets, indices, voxel_size, origin, num_rows);
  at::Tensor out = empty({voxels.voxels.rows, weight.size(1)}, weight.options());
  AT_DISPATCH_FLOATING_TYPES(weight.scalar_type(), kOp, [&] {
    const VoxelEncoder<scalar_t> encoder{weight.const_data_ptr<scalar_t>(),
                                         bias.const_data_ptr<scalar_t>(), weight.size(1),
                                         static_cast<scalar_t>(negative_slope)};
    cpu::encode_voxels(voxels, encoder, out.mutable_data_ptr<scalar_t>());
  });
  return out.to(weight_.scalar_type());
}

#ifdef ELITE_WITH_CUDA

at::Tensor encode_voxels_cuda(const at::Tensor& points_, const at::Tensor& inverse,
                              const at::Tensor& order_, const at::Tensor& offsets_,
                              const at::Tensor& indices_, const at::Tensor& weight_,
                              const at::Tensor& bias_, c10::ArrayRef<double> voxel_size,
                              c10::ArrayRef<double> origin, double negative_slope,
                              const std::optional<at::Tensor>& num_rows) {
  check(points_, inverse, order_, offsets_, indices_, weight_, bias_, voxel_size, origin, num_rows);
  const c10::cuda::CUDAGuard guard(points_.device());
  const at::Tensor points = points_.contiguous(), indices = indices_.contiguous();
  const at::Tensor order = order_.contiguous(), offsets = offsets_.contiguous();
  const at::Tensor weight = weight_.contiguous(), bias = bias_.contiguous();
  const VoxelPoints voxels =
      voxel_points(points, order, offsets, indices, voxel_size, origin, num_rows);
  at::Tensor out = empty({voxels.voxels.rows, weight.size(1)}, weight.options());
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, weight.scalar_type(), kOp, [&] {
    using T = cuda_scalar<scalar_t>;
    using accumulate = cuda::accumulate_t<T>;
    const VoxelEncoder<T, accumulate> encoder{cuda_data<scalar_t>(weight),
                                              cuda_data<scalar_t>(bias), weight.size(1),
                                              static_cast<accumulate>(negative_slope)};
    C10_CUDA_CHECK(cuda::encode_voxels(voxels, encoder, cuda_mutable_data<scalar_t>(out),
                                       c10::cuda::getCurrentCUDAStream()));
  });
  return out;
}

#endif

}  // namespace

TORCH_LIBRARY_FRAGMENT(elite_ops, m) {
  m.def(
      "encode_voxels(Tensor points, Tensor inverse, Tensor order, Tensor offsets, Tensor indices, "
      "Tensor weight, Tensor bias, float[] voxel_size, float[] origin, float negative_slope, "
      "Tensor? num_rows=None) -> Tensor");
}
TORCH_LIBRARY_IMPL(elite_ops, CPU, m) { m.impl("encode_voxels", &encode_voxels_cpu); }
#ifdef ELITE_WITH_CUDA
TORCH_LIBRARY_IMPL(elite_ops, CUDA, m) { m.impl("encode_voxels", &encode_voxels_cuda); }
#endif

}  // namespace elite_ops
