#include "cpu/encode_voxels.h"

#include <ATen/Dispatch.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

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
using Gradients = std::tuple<at::Tensor, at::Tensor>;  // of weight and bias

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

// The points of each voxel as the kernels take them, checked, and kept alive beside the pointers.
struct Inputs {
  at::Tensor points, order, offsets, indices;
  VoxelPoints voxels;

  Inputs(const at::Tensor& points_, const at::Tensor& inverse, const at::Tensor& order_,
         const at::Tensor& offsets_, const at::Tensor& indices_, const at::Tensor& weight,
         const at::Tensor& bias, c10::ArrayRef<double> voxel_size, c10::ArrayRef<double> origin,
         const std::optional<at::Tensor>& num_rows) {
    check(points_, inverse, order_, offsets_, indices_, weight, bias, voxel_size, origin, num_rows);
    points = points_.contiguous();
    order = order_.contiguous();
    offsets = offsets_.contiguous();
    indices = indices_.contiguous();
    voxels = {points.const_data_ptr<float>(),
              points.size(1),
              indices.const_data_ptr<int32_t>(),
              as_csr(order, offsets, num_rows_data(num_rows)),
              {},
              {}};
    for (int axis = 0; axis < 3; ++axis) {
      voxels.origin[axis] = static_cast<float>(origin[axis]);
      voxels.voxel_size[axis] = static_cast<float>(voxel_size[axis]);
    }
  }
};

void check_grad_out(const at::Tensor& grad_out, const at::Tensor& indices,
                    const at::Tensor& weight) {
  constexpr const char* op = "encode_voxels_backward";
  check_dim(op, "grad_out", grad_out, 2);
  check_size(op, "grad_out", grad_out, 0, indices.size(0));
  check_size(op, "grad_out", grad_out, 1, weight.size(1));
  check_dtype(op, "grad_out", grad_out, weight.scalar_type());
  check_same_device(op, "grad_out", grad_out, "weight", weight);
}

// ---- CPU

template <typename scalar_t>
VoxelEncoder<scalar_t> encoder_of(const at::Tensor& weight, const at::Tensor& bias,
                                  double negative_slope) {
  return {weight.const_data_ptr<scalar_t>(), bias.const_data_ptr<scalar_t>(), weight.size(1),
          static_cast<scalar_t>(negative_slope)};
}

at::Tensor encode_voxels_cpu(const at::Tensor& points, const at::Tensor& inverse,
                             const at::Tensor& order, const at::Tensor& offsets,
                             const at::Tensor& indices, const at::Tensor& weight_,
                             const at::Tensor& bias_, c10::ArrayRef<double> voxel_size,
                             c10::ArrayRef<double> origin, double negative_slope,
                             const std::optional<at::Tensor>& num_rows) {
  const Inputs inputs(points, inverse, order, offsets, indices, weight_, bias_, voxel_size, origin,
                      num_rows);
  const at::Tensor weight = as_computed(weight_), bias = as_computed(bias_);
  at::Tensor out = empty({indices.size(0), weight.size(1)}, weight.options());
  AT_DISPATCH_FLOATING_TYPES(weight.scalar_type(), kOp, [&] {
    cpu::encode_voxels(inputs.voxels, encoder_of<scalar_t>(weight, bias, negative_slope),
                       out.mutable_data_ptr<scalar_t>());
  });
  return out.to(weight_.scalar_type());
}

Gradients encode_voxels_backward_cpu(const at::Tensor& grad_out_, const at::Tensor& points,
                                     const at::Tensor& inverse, const at::Tensor& order,
                                     const at::Tensor& offsets, const at::Tensor& indices,
                                     const at::Tensor& weight_, const at::Tensor& bias_,
                                     c10::ArrayRef<double> voxel_size, c10::ArrayRef<double> origin,
                                     double negative_slope,
                                     const std::optional<at::Tensor>& num_rows) {
  const Inputs inputs(points, inverse, order, offsets, indices, weight_, bias_, voxel_size, origin,
                      num_rows);
  check_grad_out(grad_out_, indices, weight_);
  const at::Tensor grad_out = as_computed(grad_out_);
  const at::Tensor weight = as_computed(weight_), bias = as_computed(bias_);
  at::Tensor grad_weight = empty(weight.sizes(), weight.options());
  at::Tensor grad_bias = empty(bias.sizes(), bias.options());
  AT_DISPATCH_FLOATING_TYPES(weight.scalar_type(), kOp, [&] {
    cpu::encode_voxels_backward(inputs.voxels, encoder_of<scalar_t>(weight, bias, negative_slope),
                                grad_out.const_data_ptr<scalar_t>(),
                                grad_weight.mutable_data_ptr<scalar_t>(),
                                grad_bias.mutable_data_ptr<scalar_t>());
  });
  return {grad_weight.to(weight_.scalar_type()), grad_bias.to(bias_.scalar_type())};
}

// ---- CUDA

#ifdef ELITE_WITH_CUDA

template <typename scalar_t>
auto cuda_encoder_of(const at::Tensor& weight, const at::Tensor& bias, double negative_slope) {
  using T = cuda_scalar<scalar_t>;
  using accumulate = cuda::accumulate_t<T>;
  return VoxelEncoder<T, accumulate>{cuda_data<scalar_t>(weight), cuda_data<scalar_t>(bias),
                                     weight.size(1), static_cast<accumulate>(negative_slope)};
}

at::Tensor encode_voxels_cuda(const at::Tensor& points, const at::Tensor& inverse,
                              const at::Tensor& order, const at::Tensor& offsets,
                              const at::Tensor& indices, const at::Tensor& weight_,
                              const at::Tensor& bias_, c10::ArrayRef<double> voxel_size,
                              c10::ArrayRef<double> origin, double negative_slope,
                              const std::optional<at::Tensor>& num_rows) {
  const Inputs inputs(points, inverse, order, offsets, indices, weight_, bias_, voxel_size, origin,
                      num_rows);
  const c10::cuda::CUDAGuard guard(points.device());
  const at::Tensor weight = weight_.contiguous(), bias = bias_.contiguous();
  at::Tensor out = empty({indices.size(0), weight.size(1)}, weight.options());
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, weight.scalar_type(), kOp, [&] {
    C10_CUDA_CHECK(
        cuda::encode_voxels(inputs.voxels, cuda_encoder_of<scalar_t>(weight, bias, negative_slope),
                            cuda_mutable_data<scalar_t>(out), c10::cuda::getCurrentCUDAStream()));
  });
  return out;
}

Gradients encode_voxels_backward_cuda(const at::Tensor& grad_out_, const at::Tensor& points,
                                      const at::Tensor& inverse, const at::Tensor& order,
                                      const at::Tensor& offsets, const at::Tensor& indices,
                                      const at::Tensor& weight_, const at::Tensor& bias_,
                                      c10::ArrayRef<double> voxel_size,
                                      c10::ArrayRef<double> origin, double negative_slope,
                                      const std::optional<at::Tensor>& num_rows) {
  const Inputs inputs(points, inverse, order, offsets, indices, weight_, bias_, voxel_size, origin,
                      num_rows);
  TORCH_CHECK_VALUE(points.size(1) <= cuda::kMaxColumnsBackward, kOp,
                    ": `points` must have at most ", cuda::kMaxColumnsBackward,
                    " columns for gradients on CUDA, got shape ", points.sizes());
  check_grad_out(grad_out_, indices, weight_);
  const c10::cuda::CUDAGuard guard(points.device());
  const at::Tensor grad_out = grad_out_.contiguous();
  const at::Tensor weight = weight_.contiguous(), bias = bias_.contiguous();
  at::Tensor grad_weight = empty(weight.sizes(), weight.options());
  at::Tensor grad_bias = empty(bias.sizes(), bias.options());
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, weight.scalar_type(), kOp, [&] {
    using T = cuda_scalar<scalar_t>;
    const auto bytes = static_cast<int64_t>(
        cuda::encode_voxels_backward_workspace_bytes<T>(inputs.voxels, weight.size(1)));
    at::Tensor workspace = empty({bytes}, points.options().dtype(at::kByte));
    C10_CUDA_CHECK(cuda::encode_voxels_backward(
        inputs.voxels, cuda_encoder_of<scalar_t>(weight, bias, negative_slope),
        cuda_data<scalar_t>(grad_out), workspace.mutable_data_ptr(),
        cuda_mutable_data<scalar_t>(grad_weight), cuda_mutable_data<scalar_t>(grad_bias),
        c10::cuda::getCurrentCUDAStream()));
  });
  return {grad_weight, grad_bias};
}

#endif

}  // namespace

TORCH_LIBRARY_FRAGMENT(elite_ops, m) {
  m.def(
      "encode_voxels(Tensor points, Tensor inverse, Tensor order, Tensor offsets, Tensor indices, "
      "Tensor weight, Tensor bias, float[] voxel_size, float[] origin, float negative_slope, "
      "Tensor? num_rows=None) -> Tensor");
  m.def(
      "encode_voxels_backward(Tensor grad_out, Tensor points, Tensor inverse, Tensor order, "
      "Tensor offsets, Tensor indices, Tensor weight, Tensor bias, float[] voxel_size, "
      "float[] origin, float negative_slope, Tensor? num_rows=None) -> (Tensor, Tensor)");
}
TORCH_LIBRARY_IMPL(elite_ops, CPU, m) {
  m.impl("encode_voxels", &encode_voxels_cpu);
  m.impl("encode_voxels_backward", &encode_voxels_backward_cpu);
}
#ifdef ELITE_WITH_CUDA
TORCH_LIBRARY_IMPL(elite_ops, CUDA, m) {
  m.impl("encode_voxels", &encode_voxels_cuda);
  m.impl("encode_voxels_backward", &encode_voxels_backward_cuda);
}
#endif

}  // namespace elite_ops
