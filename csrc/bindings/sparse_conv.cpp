#include "cpu/sparse_conv.h"

#include <ATen/Dispatch.h>
#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <optional>

#include "check.h"
#include "compute_type.h"
#include "contiguous.h"
#include "empty.h"
#ifdef ELITE_WITH_CUDA

#include "cuda.h"
#include "cuda/sparse_conv.h"
#endif

namespace elite_ops {
namespace {

void check_neighbors(const char* op, const char* name, const at::Tensor& neighbors,
                     const at::Tensor& features) {
  check_dim(op, name, neighbors, 2);
  check_dtype(op, name, neighbors, at::kInt);
  check_same_device(op, name, neighbors, "features", features);
  check_row_count(op, name, neighbors.size(1));
}

void check_features(const char* op, const at::Tensor& features) {
  check_dim(op, "features", features, 2);
  check_floating(op, "features", features);
  check_row_count(op, "features", features.size(0));
}

void check_like_features(const char* op, const char* name, const at::Tensor& t,
                         const at::Tensor& features) {
  check_dtype(op, name, t, features.scalar_type());
  check_same_device(op, name, t, "features", features);
}

void check_bias(const char* op, const at::Tensor& bias, const at::Tensor& features,
                const at::Tensor& weight) {
  check_dim(op, "bias", bias, 1);
  check_size(op, "bias", bias, 0, weight.size(2));
  check_like_features(op, "bias", bias, features);
}

void check_forward(const char* op, const at::Tensor& features, const at::Tensor& weight,
                   const at::Tensor& neighbors) {
  check_features(op, features);
  check_neighbors(op, "neighbors", neighbors, features);
  check_dim(op, "weight", weight, 3);
  check_like_features(op, "weight", weight, features);
  check_size(op, "weight", weight, 0, neighbors.size(0));
  check_size(op, "weight", weight, 1, features.size(1));
}

// The table of the gradient: as many offsets, and a column for every row of `features`.
void check_transposed(const char* op, const at::Tensor& transposed, const at::Tensor& neighbors,
                      const at::Tensor& features) {
  check_neighbors(op, "transposed", transposed, features);
  check_size(op, "transposed", transposed, 0, neighbors.size(0));
  check_size(op, "transposed", transposed, 1, features.size(0));
}

void check_backward_weight(const char* op, const at::Tensor& features, const at::Tensor& grad_out,
                           const at::Tensor& neighbors, const at::Tensor& transposed) {
  check_features(op, features);
  check_neighbors(op, "neighbors", neighbors, features);
  check_transposed(op, transposed, neighbors, features);
  check_dim(op, "grad_out", grad_out, 2);
  check_like_features(op, "grad_out", grad_out, features);
  check_size(op, "grad_out", grad_out, 0, neighbors.size(1));
}

// What `sparse_conv_fused` does beside the convolution. The shortcut: other features on the
// output's voxels and their linear map.
struct Fused {
  std::optional<at::Tensor> residual;
  double negative_slope = 1;
  std::optional<at::Tensor> shortcut;
  std::optional<at::Tensor> shortcut_weight;
  std::optional<at::Tensor> num_rows;
};

void check_shortcut(const char* op, const Fused& fused, const at::Tensor& features,
                    const at::Tensor& weight, const at::Tensor& neighbors) {
  const auto &shortcut = fused.shortcut, &shortcut_weight = fused.shortcut_weight;
  TORCH_CHECK_VALUE(shortcut.has_value() == shortcut_weight.has_value(), op,
                    ": `shortcut` and its weight must be given together");
  if (!shortcut) return;
  check_dim(op, "shortcut", *shortcut, 2);
  check_like_features(op, "shortcut", *shortcut, features);
  check_size(op, "shortcut", *shortcut, 0, neighbors.size(1));
  check_dim(op, "shortcut weight", *shortcut_weight, 2);
  check_like_features(op, "shortcut weight", *shortcut_weight, features);
  check_size(op, "shortcut weight", *shortcut_weight, 0, shortcut->size(1));
  check_size(op, "shortcut weight", *shortcut_weight, 1, weight.size(2));
}

void check_fused(const char* op, const at::Tensor& features, const at::Tensor& weight,
                 const at::Tensor& bias, const at::Tensor& neighbors, const Fused& fused) {
  check_forward(op, features, weight, neighbors);
  check_bias(op, bias, features, weight);
  if (fused.residual) {
    check_dim(op, "residual", *fused.residual, 2);
    check_like_features(op, "residual", *fused.residual, features);
    check_size(op, "residual", *fused.residual, 0, neighbors.size(1));
    check_size(op, "residual", *fused.residual, 1, weight.size(2));
  }
  check_shortcut(op, fused, features, weight, neighbors);
  check_num_rows(op, fused.num_rows, neighbors.size(1), "features", features);
}

// The table with its columns in another order: both or neither.
void check_groups(const char* op, const std::optional<at::Tensor>& order,
                  const std::optional<at::Tensor>& grouped, const at::Tensor& neighbors,
                  const at::Tensor& features) {
  TORCH_CHECK_VALUE(order.has_value() == grouped.has_value(), op,
                    ": `order` and `grouped` must be given together");
  if (!order) return;
  check_dim(op, "order", *order, 1);
  check_size(op, "order", *order, 0, neighbors.size(1));
  check_dtype(op, "order", *order, at::kInt);
  check_same_device(op, "order", *order, "features", features);
  check_neighbors(op, "grouped", *grouped, features);
  check_size(op, "grouped", *grouped, 0, neighbors.size(0));
  check_size(op, "grouped", *grouped, 1, neighbors.size(1));
}

SparseConvShape shape_of(const at::Tensor& features, const at::Tensor& neighbors, int64_t c_out) {
  return {features.size(0), neighbors.size(1), neighbors.size(0), features.size(1), c_out};
}

// ---- CPU

void check_in_range(const char* op, bool in_range, const at::Tensor& features) {
  TORCH_CHECK_INDEX(in_range, op, ": `neighbors` must be -1 or a row of `features` (below ",
                    features.size(0), "), got a number outside");
}

at::Tensor forward_cpu(const char* op, const at::Tensor& features, const at::Tensor& weight,
                       const std::optional<at::Tensor>& bias, const at::Tensor& neighbors,
                       const Fused& fused) {
  const int64_t shortcut_channels = fused.shortcut ? fused.shortcut->size(1) : 0;
  const ProductTypes types(features, features.size(1) | shortcut_channels);
  const auto f = types.as_computed(features), w = types.as_computed(weight);
  const auto b = types.as_computed(bias), r = types.as_computed(fused.residual);
  const auto s = types.as_computed(fused.shortcut);
  const auto s_weight = types.as_computed(fused.shortcut_weight);
  const auto n = neighbors.contiguous();
  const auto shape = shape_of(features, neighbors, weight.size(2));
  auto out = empty({shape.num_out, shape.c_out}, f.options());
  ProductTypes::dispatch(f, [&](auto number) {
    using T = decltype(number);
    const SparseConvShortcut<T> shortcut{computed_data<T>(s), computed_data<T>(s_weight),
                                         shortcut_channels};
    const cpu::SparseConvEpilogue<T> epilogue{computed_data<T>(b), computed_data<T>(r),
                                              static_cast<cpu::sum_t<T>>(fused.negative_slope)};
    check_in_range(
        op,
        cpu::sparse_conv(shape, computed_data<T>(f), computed_data<T>(w),
                         n.const_data_ptr<int32_t>(), shortcut, epilogue,
                         num_rows_data(fused.num_rows), static_cast<T*>(out.mutable_data_ptr())),
        features);
  });
  return out.to(features.scalar_type());
}

at::Tensor sparse_conv_cpu(const at::Tensor& features, const at::Tensor& weight,
                           const std::optional<at::Tensor>& bias, const at::Tensor& neighbors,
                           const at::Tensor& transposed, bool /*mirrored*/,
                           const std::optional<at::Tensor>& order,
                           const std::optional<at::Tensor>& grouped) {
  constexpr auto op = "sparse_conv";
  check_forward(op, features, weight, neighbors);
  check_transposed(op, transposed, neighbors, features);
  check_groups(op, order, grouped, neighbors, features);
  if (bias) check_bias(op, *bias, features, weight);
  return forward_cpu(op, features, weight, bias, neighbors, {});
}

at::Tensor sparse_conv_fused_cpu(const at::Tensor& features, const at::Tensor& weight,
                                 const at::Tensor& bias, const at::Tensor& neighbors,
                                 const std::optional<at::Tensor>& residual, double negative_slope,
                                 const std::optional<at::Tensor>& order,
                                 const std::optional<at::Tensor>& grouped, int64_t /*variant*/,
                                 const std::optional<at::Tensor>& shortcut,
                                 const std::optional<at::Tensor>& shortcut_weight,
                                 const std::optional<at::Tensor>& num_rows) {
  constexpr auto op = "sparse_conv_fused";
  const Fused fused{residual, negative_slope, shortcut, shortcut_weight, num_rows};
  check_fused(op, features, weight, bias, neighbors, fused);
  check_groups(op, order, grouped, neighbors, features);
  return forward_cpu(op, features, weight, bias, neighbors, fused);
}

at::Tensor sparse_conv_backward_weight_cpu(const at::Tensor& features, const at::Tensor& grad_out,
                                           const at::Tensor& neighbors,
                                           const at::Tensor& transposed, bool /*mirrored*/) {
  constexpr auto op = "sparse_conv_backward_weight";
  check_backward_weight(op, features, grad_out, neighbors, transposed);
  const auto f = as_computed(features), g = as_computed(grad_out);
  const auto n = neighbors.contiguous();
  const auto shape = shape_of(features, neighbors, grad_out.size(1));
  auto grad_weight = empty({shape.num_offsets, shape.c_in, shape.c_out}, f.options());
  AT_DISPATCH_FLOATING_TYPES(f.scalar_type(), "sparse_conv", [&] {
    check_in_range(op,
                   cpu::sparse_conv_backward_weight(
                       shape, f.const_data_ptr<scalar_t>(), g.const_data_ptr<scalar_t>(),
                       n.const_data_ptr<int32_t>(), grad_weight.mutable_data_ptr<scalar_t>()),
                   features);
  });
  return grad_weight.to(features.scalar_type());
}

// ---- CUDA

#ifdef ELITE_WITH_CUDA

at::Tensor forward_cuda(const at::Tensor& features, const at::Tensor& weight,
                        const std::optional<at::Tensor>& bias, const at::Tensor& neighbors,
                        const std::optional<at::Tensor>& order,
                        const std::optional<at::Tensor>& grouped, const Fused& fused,
                        cuda::SparseConvVariant variant = cuda::SparseConvVariant::kAutomatic) {
  const c10::cuda::CUDAGuard guard(features.device());
  const auto f = features.contiguous(), w = weight.contiguous();
  const auto n = (grouped ? *grouped : neighbors).contiguous();
  const auto o = contiguous(order), b = contiguous(bias), r = contiguous(fused.residual);
  const auto s = contiguous(fused.shortcut), s_weight = contiguous(fused.shortcut_weight);
  const auto shape = shape_of(features, neighbors, weight.size(2));
  auto out = empty({shape.num_out, shape.c_out}, f.options());
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, f.scalar_type(), "sparse_conv", [&] {
    cuda::SparseConvArguments<cuda_scalar<scalar_t>> args;
    args.shape = shape;
    args.features = cuda_data<scalar_t>(f);
    args.weight = cuda_data<scalar_t>(w);
    args.neighbors = n.const_data_ptr<int32_t>();
    if (o.defined()) args.order = o.const_data_ptr<int32_t>();
    if (s.defined()) {
      args.shortcut = {cuda_data<scalar_t>(s), cuda_data<scalar_t>(s_weight), s.size(1)};
    }
    if (b.defined()) args.epilogue.bias = cuda_data<scalar_t>(b);
    if (r.defined()) args.epilogue.residuals[0].data = cuda_data<scalar_t>(r);
    args.epilogue.negative_slope = fused.negative_slope;
    args.num_rows = num_rows_data(fused.num_rows);
    args.out = cuda_mutable_data<scalar_t>(out);
    args.error_flag = device_error_flag(ErrorSource::kSparseConv);
    C10_CUDA_CHECK(cuda::sparse_conv(args, allows_tf32(features.scalar_type()), variant,
                                     c10::cuda::getCurrentCUDAStream()));
  });
  return out;
}

at::Tensor sparse_conv_cuda(const at::Tensor& features, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, const at::Tensor& neighbors,
                            const at::Tensor& transposed, bool /*mirrored*/,
                            const std::optional<at::Tensor>& order,
                            const std::optional<at::Tensor>& grouped) {
  constexpr auto op = "sparse_conv";
  check_forward(op, features, weight, neighbors);
  check_transposed(op, transposed, neighbors, features);
  check_groups(op, order, grouped, neighbors, features);
  if (bias) check_bias(op, *bias, features, weight);
  return forward_cuda(features, weight, bias, neighbors, order, grouped, {});
}

at::Tensor sparse_conv_fused_cuda(const at::Tensor& features, const at::Tensor& weight,
                                  const at::Tensor& bias, const at::Tensor& neighbors,
                                  const std::optional<at::Tensor>& residual, double negative_slope,
                                  const std::optional<at::Tensor>& order,
                                  const std::optional<at::Tensor>& grouped, int64_t variant,
                                  const std::optional<at::Tensor>& shortcut,
                                  const std::optional<at::Tensor>& shortcut_weight,
                                  const std::optional<at::Tensor>& num_rows) {
  constexpr auto op = "sparse_conv_fused";
  const Fused fused{residual, negative_slope, shortcut, shortcut_weight, num_rows};
  check_fused(op, features, weight, bias, neighbors, fused);
  check_groups(op, order, grouped, neighbors, features);
  TORCH_CHECK_VALUE(variant >= 0 && variant <= 6, op, ": `variant` must be between 0 and 6, got ",
                    variant);
  return forward_cuda(features, weight, bias, neighbors, order, grouped, fused,
                      static_cast<cuda::SparseConvVariant>(variant));
}

at::Tensor sparse_conv_backward_weight_cuda(const at::Tensor& features, const at::Tensor& grad_out,
                                            const at::Tensor& neighbors,
                                            const at::Tensor& transposed, bool /*mirrored*/) {
  check_backward_weight("sparse_conv_backward_weight", features, grad_out, neighbors, transposed);
  const c10::cuda::CUDAGuard guard(features.device());
  const auto f = features.contiguous(), g = grad_out.contiguous(), n = neighbors.contiguous();
  const auto shape = shape_of(features, neighbors, grad_out.size(1));
  auto grad_weight = empty({shape.num_offsets, shape.c_in, shape.c_out}, f.options());
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, f.scalar_type(), "sparse_conv", [&] {
    using T = cuda_scalar<scalar_t>;
    const auto bytes = cuda::sparse_conv_backward_weight_workspace_bytes<T>(shape);
    auto workspace = empty({static_cast<int64_t>(bytes)}, f.options().dtype(at::kByte));
    C10_CUDA_CHECK(cuda::sparse_conv_backward_weight<T>(
        shape, cuda_data<scalar_t>(f), cuda_data<scalar_t>(g), n.const_data_ptr<int32_t>(),
        workspace.mutable_data_ptr(), allows_tf32(features.scalar_type()),
        cuda_mutable_data<scalar_t>(grad_weight), device_error_flag(ErrorSource::kSparseConv),
        c10::cuda::getCurrentCUDAStream()));
  });
  return grad_weight;
}

#endif

}  // namespace

// `transposed` and `mirrored` are what the gradients need, `order` and `grouped` what `group_rows`
// gave: see elite_ops/kernel_map.py. `variant` is a number of csrc/cuda/sparse_conv_variant.h, for
// benchmarks; the CPU takes any and has one way.
TORCH_LIBRARY_FRAGMENT(elite_ops, m) {
  m.def(
      "sparse_conv(Tensor features, Tensor weight, Tensor? bias, Tensor neighbors, "
      "Tensor transposed, bool mirrored, Tensor? order=None, Tensor? grouped=None) -> Tensor");
  m.def(
      "sparse_conv_backward_weight(Tensor features, Tensor grad_out, Tensor neighbors, "
      "Tensor transposed, bool mirrored) -> Tensor");
  m.def(
      "sparse_conv_fused(Tensor features, Tensor weight, Tensor bias, Tensor neighbors, "
      "Tensor? residual, float negative_slope, Tensor? order=None, Tensor? grouped=None, "
      "int variant=0, Tensor? shortcut=None, Tensor? shortcut_weight=None, "
      "Tensor? num_rows=None) -> Tensor");
}
TORCH_LIBRARY_IMPL(elite_ops, CPU, m) {
  m.impl("sparse_conv", &sparse_conv_cpu);
  m.impl("sparse_conv_backward_weight", &sparse_conv_backward_weight_cpu);
  m.impl("sparse_conv_fused", &sparse_conv_fused_cpu);
}
#ifdef ELITE_WITH_CUDA
TORCH_LIBRARY_IMPL(elite_ops, CUDA, m) {
  m.impl("sparse_conv", &sparse_conv_cuda);
  m.impl("sparse_conv_backward_weight", &sparse_conv_backward_weight_cuda);
  m.impl("sparse_conv_fused", &sparse_conv_fused_cuda);
}
#endif

}  // namespace elite_ops
