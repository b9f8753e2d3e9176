#include "cpu/sparse_depthwise_conv.h"

#include <optional>

#include "compute_type.h"
#include "contiguous.h"
#include "empty.h"
#include "kernel_table.h"
#include "op.h"
#ifdef ELITE_WITH_CUDA
#include "cuda/sparse_depthwise_conv.h"
#endif

namespace elite_ops {
namespace {

struct SparseDepthwiseConv {
  static constexpr auto kName = "sparse_depthwise_conv";

  at::Tensor features;  // [V_in, C]
  at::Tensor weight;    // [K, C]
  std::optional<at::Tensor> bias;
  at::Tensor in_rows;  // [K, V_out]

  static SparseDepthwiseConv check(const at::Tensor& features, const at::Tensor& weight,
                                   const std::optional<at::Tensor>& bias, const at::Tensor& in_rows,
                                   const std::optional<at::Tensor>& out_rows, bool /*symmetric*/) {
    check_features(kName, "features", features);
    check_tables(kName, in_rows, out_rows, features);
    check_dim(kName, "weight", weight, 2);
    check_like(kName, "weight", weight, "features", features);
    check_size(kName, "weight", weight, 0, in_rows.size(0));
    check_size(kName, "weight", weight, 1, features.size(1));
    if (bias) {
      check_dim(kName, "bias", *bias, 1);
      check_like(kName, "bias", *bias, "features", features);
      check_size(kName, "bias", *bias, 0, features.size(1));
    }
    return {features.contiguous(), weight.contiguous(), bias, in_rows.contiguous()};
  }

  at::Tensor run_cpu() const {
    const at::Tensor f = as_computed(features), w = as_computed(weight), b = as_computed(bias);
    at::Tensor out = empty({in_rows.size(1), f.size(1)}, f.options());
    const bool in_range = dispatch_cpu(f.scalar_type(), [&](auto number) {
      using T = decltype(number);
      return cpu::sparse_depthwise_conv(table(), f.size(1), data<T>(f), data<T>(w), data<T>(b),
                                        mutable_data<T>(out));
    });
    check_rows_in_range(kName, "in_rows", in_range, "features", f.size(0));
    return out.to(features.scalar_type());
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    const at::Tensor b = contiguous(bias);
    at::Tensor out = empty({in_rows.size(1), features.size(1)}, features.options());
    dispatch_cuda(features.scalar_type(), [&](auto number) {
      using T = decltype(number);
      C10_CUDA_CHECK(cuda::sparse_depthwise_conv(
          table(), features.size(1), data<T>(features), data<T>(weight), data<T>(b),
          mutable_data<T>(out), device_error_flag(ErrorSource::kSparseDepthwiseConv),
          c10::cuda::getCurrentCUDAStream()));
    });
    return out;
  }
#endif

 private:
  KernelTable table() const { return kernel_table(in_rows, features.size(0)); }
};

struct SparseDepthwiseConvBackwardWeight {
  static constexpr auto kName = "sparse_depthwise_conv_backward_weight";

  at::Tensor features;  // [V_in, C]
  at::Tensor grad_out;  // [V_out, C]
  at::Tensor in_rows;   // [K, V_out]

  static SparseDepthwiseConvBackwardWeight check(const at::Tensor& features,
                                                 const at::Tensor& grad_out,
                                                 const at::Tensor& in_rows,
                                                 const std::optional<at::Tensor>& out_rows,
                                                 bool /*symmetric*/) {
    check_features(kName, "features", features);
    check_tables(kName, in_rows, out_rows, features);
    check_dim(kName, "grad_out", grad_out, 2);
    check_like(kName, "grad_out", grad_out, "features", features);
    check_size(kName, "grad_out", grad_out, 0, in_rows.size(1));
    check_size(kName, "grad_out", grad_out, 1, features.size(1));
    return {features.contiguous(), grad_out.contiguous(), in_rows.contiguous()};
  }

  at::Tensor run_cpu() const {
    const at::Tensor f = as_computed(features), g = as_computed(grad_out);
    at::Tensor grad_weight = empty({in_rows.size(0), f.size(1)}, f.options());
    const bool in_range = dispatch_cpu(f.scalar_type(), [&](auto number) {
      using T = decltype(number);
      return cpu::sparse_depthwise_conv_backward_weight(table(), f.size(1), data<T>(f), data<T>(g),
                                                        mutable_data<T>(grad_weight));
    });
    check_rows_in_range(kName, "in_rows", in_range, "features", f.size(0));
    return grad_weight.to(features.scalar_type());
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    const int64_t channels = features.size(1);
    at::Tensor grad_weight = empty({in_rows.size(0), channels}, features.options());
    dispatch_cuda(features.scalar_type(), [&](auto number) {
      using T = decltype(number);
      const auto bytes =
          cuda::sparse_depthwise_conv_backward_weight_workspace_bytes<T>(table(), channels);
      at::Tensor workspace =
          empty({static_cast<int64_t>(bytes)}, features.options().dtype(at::kByte));
      C10_CUDA_CHECK(cuda::sparse_depthwise_conv_backward_weight(
          table(), channels, data<T>(features), data<T>(grad_out), workspace.mutable_data_ptr(),
          mutable_data<T>(grad_weight), device_error_flag(ErrorSource::kSparseDepthwiseConv),
          c10::cuda::getCurrentCUDAStream()));
    });
    return grad_weight;
  }
#endif

 private:
  KernelTable table() const { return kernel_table(in_rows, features.size(0)); }
};

}  // namespace

// `out_rows` and `symmetric` are what the gradients need (elite_ops/kernel_map.py).
ELITE_OP(SparseDepthwiseConv,
         "sparse_depthwise_conv(Tensor features, Tensor weight, Tensor? bias, Tensor in_rows, "
         "Tensor? out_rows, bool symmetric) -> Tensor");
ELITE_OP(SparseDepthwiseConvBackwardWeight,
         "sparse_depthwise_conv_backward_weight(Tensor features, Tensor grad_out, Tensor in_rows, "
         "Tensor? out_rows, bool symmetric) -> Tensor");

}  // namespace elite_ops
