#include "cpu/encode_voxels.h"

#include <optional>
#include <tuple>

#include "check.h"
#include "compute_type.h"
#include "contiguous.h"
#include "empty.h"
#include "op.h"
#include "segments.h"
#ifdef ELITE_WITH_CUDA
#include "cuda/encode_voxels.h"
#endif

namespace elite_ops {
namespace {

using Axes = c10::ArrayRef<double>;

struct EncodeVoxels {
  static constexpr auto kName = "encode_voxels";

  at::Tensor points;          // [N, 3 + F]
  at::Tensor order, offsets;  // [N], [V + 1]: the points of each voxel
  at::Tensor indices;         // [V, 4]
  at::Tensor weight;          // [9 + F, C]
  at::Tensor bias;            // [C]
  at::Tensor num_rows;        // [] or undefined
  VoxelPoints voxels;         // points into the first four
  float negative_slope;

  static EncodeVoxels check(const at::Tensor& points, const at::Tensor& inverse,
                            const at::Tensor& order, const at::Tensor& offsets,
                            const at::Tensor& indices, const at::Tensor& weight,
                            const at::Tensor& bias, Axes voxel_size, Axes origin,
                            double negative_slope, const std::optional<at::Tensor>& num_rows) {
    check_dim(kName, "points", points, 2);
    TORCH_CHECK_VALUE(points.size(1) >= 3, kName,
                      ": `points` must have at least 3 columns, got shape ", points.sizes());
    check_dtype(kName, "points", points, at::kFloat);
    check_row_count(kName, "points", points.size(0));
    check_segments(kName, inverse, order, offsets, "points", points);
    check_size(kName, "segments.inverse", inverse, 0, points.size(0));
    check_dim(kName, "indices", indices, 2);
    check_size(kName, "indices", indices, 0, offsets.size(0) - 1);
    check_size(kName, "indices", indices, 1, 4);
    check_dtype(kName, "indices", indices, at::kInt);
    check_same_device(kName, "indices", indices, "points", points);
    check_dim(kName, "weight", weight, 2);
    check_floating(kName, "weight", weight);
    check_size(kName, "weight", weight, 0, points.size(1) + 6);
    check_same_device(kName, "weight", weight, "points", points);
    check_dim(kName, "bias", bias, 1);
    check_size(kName, "bias", bias, 0, weight.size(1));
    check_dtype(kName, "bias", bias, weight.scalar_type());
    check_same_device(kName, "bias", bias, "points", points);
    check_axes("voxel_size", voxel_size, check_positive);
    check_axes("origin", origin, check_finite);
    check_finite(kName, "negative_slope", negative_slope);
    check_num_rows(kName, num_rows, indices.size(0), "points", points);
    EncodeVoxels op{points.contiguous(),
                    order.contiguous(),
                    offsets.contiguous(),
                    indices.contiguous(),
                    weight.contiguous(),
                    bias.contiguous(),
                    contiguous(num_rows),
                    {},
                    static_cast<float>(negative_slope)};
    op.voxels = op.points_of_voxels(voxel_size, origin);
    return op;
  }

  at::Tensor run_cpu() const {
    const at::Tensor w = as_computed(weight), b = as_computed(bias);
    at::Tensor out = empty({indices.size(0), w.size(1)}, w.options());
    dispatch_cpu(w.scalar_type(), [&](auto number) {
      using T = decltype(number);
      cpu::encode_voxels(voxels, encoder<T, T>(w, b), mutable_data<T>(out));
    });
    return out.to(weight.scalar_type());
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    at::Tensor out = empty({indices.size(0), weight.size(1)}, weight.options());
    dispatch_cuda(weight.scalar_type(), [&](auto number) {
      using T = decltype(number);
      C10_CUDA_CHECK(cuda::encode_voxels(voxels, encoder<T, cuda::accumulate_t<T>>(weight, bias),
                                         mutable_data<T>(out), c10::cuda::getCurrentCUDAStream()));
    });
    return out;
  }
#endif

  template <typename T, typename Sum>
  VoxelEncoder<T, Sum> encoder(const at::Tensor& w, const at::Tensor& b) const {
    return {data<T>(w), data<T>(b), w.size(1), static_cast<Sum>(negative_slope)};
  }

 private:
  static void check_axes(const char* name, Axes values,
                         void (*check_value)(const char*, const char*, double)) {
    TORCH_CHECK_VALUE(values.size() == 3, kName, ": `", name, "` must have 3 entries, got ",
                      values);
    for (const double value : values) check_value(kName, name, value);
  }

  VoxelPoints points_of_voxels(Axes voxel_size, Axes origin) const {
    VoxelPoints of{data<float>(points),
                   points.size(1),
                   data<int32_t>(indices),
                   as_csr(order, offsets, data<int64_t>(num_rows)),
                   {},
                   {}};
    for (int axis = 0; axis < 3; ++axis) {
      of.origin[axis] = static_cast<float>(origin[axis]);
      of.voxel_size[axis] = static_cast<float>(voxel_size[axis]);
    }
    return of;
  }
};

struct EncodeVoxelsBackward {
  static constexpr auto kName = "encode_voxels_backward";
  using Result = std::tuple<at::Tensor, at::Tensor>;  // the gradients of weight and bias

  EncodeVoxels forward;
  at::Tensor grad_out;  // [V, C]

  static EncodeVoxelsBackward check(const at::Tensor& grad_out, const at::Tensor& points,
                                    const at::Tensor& inverse, const at::Tensor& order,
                                    const at::Tensor& offsets, const at::Tensor& indices,
                                    const at::Tensor& weight, const at::Tensor& bias,
                                    Axes voxel_size, Axes origin, double negative_slope,
                                    const std::optional<at::Tensor>& num_rows) {
    const auto forward = EncodeVoxels::check(points, inverse, order, offsets, indices, weight, bias,
                                             voxel_size, origin, negative_slope, num_rows);
    check_dim(kName, "grad_out", grad_out, 2);
    check_size(kName, "grad_out", grad_out, 0, indices.size(0));
    check_size(kName, "grad_out", grad_out, 1, weight.size(1));
    check_dtype(kName, "grad_out", grad_out, weight.scalar_type());
    check_same_device(kName, "grad_out", grad_out, "weight", weight);
    return {forward, grad_out.contiguous()};
  }

  Result run_cpu() const {
    const at::Tensor w = as_computed(forward.weight), b = as_computed(forward.bias);
    const at::Tensor gradient = as_computed(grad_out);
    auto [grad_weight, grad_bias] = allocate(w, b);
    dispatch_cpu(w.scalar_type(), [&](auto number) {
      using T = decltype(number);
      cpu::encode_voxels_backward(forward.voxels, forward.encoder<T, T>(w, b), data<T>(gradient),
                                  mutable_data<T>(grad_weight), mutable_data<T>(grad_bias));
    });
    const auto dtype = grad_out.scalar_type();
    return {grad_weight.to(dtype), grad_bias.to(dtype)};
  }

#ifdef ELITE_WITH_CUDA
  Result run_cuda() const {
    const at::Tensor& points = forward.points;
    TORCH_CHECK_VALUE(points.size(1) <= cuda::kMaxColumnsBackward, EncodeVoxels::kName,
                      ": `points` must have at most ", cuda::kMaxColumnsBackward,
                      " columns for gradients on CUDA, got shape ", points.sizes());
    auto [grad_weight, grad_bias] = allocate(forward.weight, forward.bias);
    dispatch_cuda(grad_out.scalar_type(), [&](auto number) {
      using T = decltype(number);
      const auto bytes = static_cast<int64_t>(
          cuda::encode_voxels_backward_workspace_bytes<T>(forward.voxels, grad_out.size(1)));
      at::Tensor workspace = empty({bytes}, points.options().dtype(at::kByte));
      C10_CUDA_CHECK(cuda::encode_voxels_backward(
          forward.voxels, forward.encoder<T, cuda::accumulate_t<T>>(forward.weight, forward.bias),
          data<T>(grad_out), workspace.mutable_data_ptr(), mutable_data<T>(grad_weight),
          mutable_data<T>(grad_bias), c10::cuda::getCurrentCUDAStream()));
    });
    return {grad_weight, grad_bias};
  }
#endif

 private:
  static Result allocate(const at::Tensor& weight, const at::Tensor& bias) {
    return {empty(weight.sizes(), weight.options()), empty(bias.sizes(), bias.options())};
  }
};

}  // namespace

ELITE_OP(EncodeVoxels,
         "encode_voxels(Tensor points, Tensor inverse, Tensor order, Tensor offsets, "
         "Tensor indices, Tensor weight, Tensor bias, float[] voxel_size, float[] origin, "
         "float negative_slope, Tensor? num_rows=None) -> Tensor");
ELITE_OP(EncodeVoxelsBackward,
         "encode_voxels_backward(Tensor grad_out, Tensor points, Tensor inverse, Tensor order, "
         "Tensor offsets, Tensor indices, Tensor weight, Tensor bias, float[] voxel_size, "
         "float[] origin, float negative_slope, Tensor? num_rows=None) -> (Tensor, Tensor)");

}  // namespace elite_ops
