#include "cpu/sparse_conv.h"

#include <atomic>
#include <cmath>
#include <optional>

#include "check.h"
#include "compute_type.h"
#include "contiguous.h"
#include "empty.h"
#include "kernel_table.h"
#include "op.h"
#include "sparse_conv_variant.h"
#ifdef ELITE_WITH_CUDA
#include "cuda/sparse_conv.h"
#endif

namespace elite_ops {
namespace {

std::atomic<int> forced_variant{0};

void check_matrix(const char* op, const char* name, const at::Tensor& t,
                  const at::Tensor& features) {
  check_dim(op, name, t, 2);
  check_like(op, name, t, "features", features);
}

// The table with its columns in another order: both or neither.
void check_row_order(const char* op, const std::optional<at::Tensor>& order,
                     const std::optional<at::Tensor>& ordered_rows, const at::Tensor& in_rows,
                     const at::Tensor& features) {
  TORCH_CHECK_VALUE(order.has_value() == ordered_rows.has_value(), op,
                    ": `order` and `ordered_rows` must be given together");
  if (!order) return;
  check_dim(op, "order", *order, 1);
  check_size(op, "order", *order, 0, in_rows.size(1));
  check_dtype(op, "order", *order, at::kInt);
  check_same_device(op, "order", *order, "features", features);
  check_table(op, "ordered_rows", *ordered_rows, "features", features);
  check_size(op, "ordered_rows", *ordered_rows, 0, in_rows.size(0));
  check_size(op, "ordered_rows", *ordered_rows, 1, in_rows.size(1));
}

// What every convolution multiplies, and what else happens in its epilogue.
struct Convolution {
  at::Tensor features;  // [V_in, C_in]
  at::Tensor weight;    // [K, C_in, C_out]
  at::Tensor in_rows;   // [K, V_out]
  std::optional<at::Tensor> out_rows = {}, bias = {}, order = {}, ordered_rows = {};
  std::optional<at::Tensor> residual = {}, shortcut = {}, shortcut_weight = {}, num_rows = {};
  double negative_slope = 1;

  void check(const char* op) const {
    check_features(op, "features", features);
    check_tables(op, in_rows, out_rows, features);
    check_dim(op, "weight", weight, 3);
    check_like(op, "weight", weight, "features", features);
    check_size(op, "weight", weight, 0, in_rows.size(0));
    check_size(op, "weight", weight, 1, features.size(1));
    check_row_order(op, order, ordered_rows, in_rows, features);
    if (bias) {
      check_dim(op, "bias", *bias, 1);
      check_size(op, "bias", *bias, 0, weight.size(2));
      check_like(op, "bias", *bias, "features", features);
    }
    if (residual) {
      check_matrix(op, "residual", *residual, features);
      check_size(op, "residual", *residual, 0, in_rows.size(1));
      check_size(op, "residual", *residual, 1, weight.size(2));
    }
    check_shortcut(op);
    check_num_rows(op, num_rows, in_rows.size(1), "features", features);
    TORCH_CHECK_VALUE(std::isfinite(negative_slope), op, ": `negative_slope` must be finite, got ",
                      negative_slope);
  }

  void check_shortcut(const char* op) const {
    TORCH_CHECK_VALUE(shortcut.has_value() == shortcut_weight.has_value(), op,
                      ": `shortcut` and its weight must be given together");
    if (!shortcut) return;
    check_matrix(op, "shortcut", *shortcut, features);
    check_size(op, "shortcut", *shortcut, 0, in_rows.size(1));
    check_matrix(op, "shortcut weight", *shortcut_weight, features);
    check_size(op, "shortcut weight", *shortcut_weight, 0, shortcut->size(1));
    check_size(op, "shortcut weight", *shortcut_weight, 1, weight.size(2));
  }

  SparseConvShape shape() const {
    return {features.size(0), in_rows.size(1), in_rows.size(0), features.size(1), weight.size(2)};
  }

  at::Tensor run_cpu(const char* op) const;
#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const;
#endif
};

at::Tensor Convolution::run_cpu(const char* op) const {
  const int64_t shortcut_channels = shortcut ? shortcut->size(1) : 0;
  const ProductTypes types(features, features.size(1) | shortcut_channels);
  const auto f = types.as_computed(features), w = types.as_computed(weight);
  const auto b = types.as_computed(bias), r = types.as_computed(residual);
  const auto s = types.as_computed(shortcut), s_weight = types.as_computed(shortcut_weight);
  const auto rows = in_rows.contiguous();
  auto out = empty({shape().num_out, shape().c_out}, f.options());
  ProductTypes::dispatch(f, [&](auto number) {
    using T = decltype(number);
    const SparseConvShortcut<T> added{data<T>(s), data<T>(s_weight), shortcut_channels};
    const cpu::SparseConvEpilogue<T> epilogue{data<T>(b), data<T>(r),
                                              static_cast<cpu::sum_t<T>>(negative_slope)};
    const bool in_range =
        cpu::sparse_conv(shape(), data<T>(f), data<T>(w), data<int32_t>(rows), added, epilogue,
                         num_rows_data(num_rows), mutable_data<T>(out));
    check_rows_in_range(op, "in_rows", in_range, "features", features.size(0));
  });
  return out.to(features.scalar_type());
}

#ifdef ELITE_WITH_CUDA
at::Tensor Convolution::run_cuda() const {
  const auto f = features.contiguous(), w = weight.contiguous();
  const auto rows = (ordered_rows ? *ordered_rows : in_rows).contiguous();
  const auto o = contiguous(order), b = contiguous(bias), r = contiguous(residual);
  const auto s = contiguous(shortcut), s_weight = contiguous(shortcut_weight);
  auto out = empty({shape().num_out, shape().c_out}, f.options());
  dispatch_cuda(f.scalar_type(), [&](auto number) {
    using T = decltype(number);
    cuda::SparseConvArguments<T> args;
    args.shape = shape();
    args.features = data<T>(f);
    args.weight = data<T>(w);
    args.neighbors = data<int32_t>(rows);
    args.order = data<int32_t>(o);
    if (s.defined()) args.shortcut = {data<T>(s), data<T>(s_weight), s.size(1)};
    args.epilogue.bias = data<T>(b);
    args.epilogue.residuals[0].data = data<T>(r);
    args.epilogue.negative_slope = negative_slope;
    args.num_rows = num_rows_data(num_rows);
    args.out = mutable_data<T>(out);
    args.error_flag = device_error_flag(ErrorSource::kSparseConv);
    C10_CUDA_CHECK(cuda::sparse_conv(args, allows_tf32(f.scalar_type()),
                                     static_cast<cuda::SparseConvVariant>(forced_variant.load()),
                                     c10::cuda::getCurrentCUDAStream()));
  });
  return out;
}
#endif

struct SparseConv {
  static constexpr auto kName = "sparse_conv";

  Convolution convolution;

  static SparseConv check(const at::Tensor& features, const at::Tensor& weight,
                          const std::optional<at::Tensor>& bias, const at::Tensor& in_rows,
                          const std::optional<at::Tensor>& out_rows, bool /*symmetric*/,
                          const std::optional<at::Tensor>& order,
                          const std::optional<at::Tensor>& ordered_rows) {
    const Convolution convolution{.features = features,
                                  .weight = weight,
                                  .in_rows = in_rows,
                                  .out_rows = out_rows,
                                  .bias = bias,
                                  .order = order,
                                  .ordered_rows = ordered_rows};
    convolution.check(kName);
    return {convolution};
  }

  at::Tensor run_cpu() const { return convolution.run_cpu(kName); }
#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const { return convolution.run_cuda(); }
#endif
};

struct SparseConvFused {
  static constexpr auto kName = "sparse_conv_fused";

  Convolution convolution;

  static SparseConvFused check(const at::Tensor& features, const at::Tensor& weight,
                               const at::Tensor& bias, const at::Tensor& in_rows,
                               const std::optional<at::Tensor>& residual, double negative_slope,
                               const std::optional<at::Tensor>& order,
                               const std::optional<at::Tensor>& ordered_rows,
                               const std::optional<at::Tensor>& shortcut,
                               const std::optional<at::Tensor>& shortcut_weight,
                               const std::optional<at::Tensor>& num_rows) {
    const Convolution convolution{.features = features,
                                  .weight = weight,
                                  .in_rows = in_rows,
                                  .bias = bias,
                                  .order = order,
                                  .ordered_rows = ordered_rows,
                                  .residual = residual,
                                  .shortcut = shortcut,
                                  .shortcut_weight = shortcut_weight,
                                  .num_rows = num_rows,
                                  .negative_slope = negative_slope};
    convolution.check(kName);
    return {convolution};
  }

  at::Tensor run_cpu() const { return convolution.run_cpu(kName); }
#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const { return convolution.run_cuda(); }
#endif
};

struct SparseConvBackwardWeight {
  static constexpr auto kName = "sparse_conv_backward_weight";

  at::Tensor features;  // [V_in, C_in]
  at::Tensor grad_out;  // [V_out, C_out]
  at::Tensor in_rows;   // [K, V_out]

  static SparseConvBackwardWeight check(const at::Tensor& features, const at::Tensor& grad_out,
                                        const at::Tensor& in_rows,
                                        const std::optional<at::Tensor>& out_rows,
                                        bool /*symmetric*/) {
    check_features(kName, "features", features);
    check_tables(kName, in_rows, out_rows, features);
    check_matrix(kName, "grad_out", grad_out, features);
    check_size(kName, "grad_out", grad_out, 0, in_rows.size(1));
    return {features, grad_out, in_rows.contiguous()};
  }

  SparseConvShape shape() const {
    return {features.size(0), in_rows.size(1), in_rows.size(0), features.size(1), grad_out.size(1)};
  }
  at::Tensor allocate(const at::TensorOptions& options) const {
    return empty({in_rows.size(0), features.size(1), grad_out.size(1)}, options);
  }

  at::Tensor run_cpu() const {
    const auto f = as_computed(features), g = as_computed(grad_out);
    auto grad_weight = allocate(f.options());
    dispatch_cpu(f.scalar_type(), [&](auto number) {
      using T = decltype(number);
      const bool in_range = cpu::sparse_conv_backward_weight(
          shape(), data<T>(f), data<T>(g), data<int32_t>(in_rows), mutable_data<T>(grad_weight));
      check_rows_in_range(kName, "in_rows", in_range, "features", features.size(0));
    });
    return grad_weight.to(features.scalar_type());
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    const auto f = features.contiguous(), g = grad_out.contiguous();
    auto grad_weight = allocate(f.options());
    dispatch_cuda(f.scalar_type(), [&](auto number) {
      using T = decltype(number);
      const auto bytes = cuda::sparse_conv_backward_weight_workspace_bytes<T>(shape());
      auto workspace = empty({static_cast<int64_t>(bytes)}, f.options().dtype(at::kByte));
      C10_CUDA_CHECK(cuda::sparse_conv_backward_weight<T>(
          shape(), data<T>(f), data<T>(g), data<int32_t>(in_rows), workspace.mutable_data_ptr(),
          allows_tf32(f.scalar_type()), mutable_data<T>(grad_weight),
          device_error_flag(ErrorSource::kSparseConv), c10::cuda::getCurrentCUDAStream()));
    });
    return grad_weight;
  }
#endif
};

}  // namespace

void force_sparse_conv_variant(int variant) {
  TORCH_CHECK_VALUE(variant >= 0 && variant < kNumSparseConvVariants,
                    "force_sparse_conv_variant: `variant` must be between 0 and ",
                    kNumSparseConvVariants - 1, ", got ", variant);
  forced_variant = variant;
}

// `out_rows` and `symmetric` are what the gradients need, `order` and `ordered_rows` what
// `order_rows` gave: see elite_ops/kernel_map.py.
ELITE_OP(SparseConv,
         "sparse_conv(Tensor features, Tensor weight, Tensor? bias, Tensor in_rows, "
         "Tensor? out_rows, bool symmetric, Tensor? order=None, Tensor? ordered_rows=None) "
         "-> Tensor");
ELITE_OP(SparseConvBackwardWeight,
         "sparse_conv_backward_weight(Tensor features, Tensor grad_out, Tensor in_rows, "
         "Tensor? out_rows, bool symmetric) -> Tensor");
ELITE_OP(SparseConvFused,
         "sparse_conv_fused(Tensor features, Tensor weight, Tensor bias, Tensor in_rows, "
         "Tensor? residual, float negative_slope, Tensor? order=None, Tensor? ordered_rows=None, "
         "Tensor? shortcut=None, Tensor? shortcut_weight=None, Tensor? num_rows=None) -> Tensor");

}  // namespace elite_ops
