#include "cpu/linear_fused.h"

#include <ATen/Dispatch.h>
#include <torch/library.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "compute_type.h"
#include "contiguous.h"
#include "empty.h"
#ifdef ELITE_WITH_CUDA

#include "cuda.h"
#include "cuda/linear_fused.h"
#endif

namespace elite_ops {
namespace {

constexpr const char* kOp = "linear_fused";
using OptionalTensors = c10::List<std::optional<at::Tensor>>;

void check_like_features(const char* name, const at::Tensor& t, const at::Tensor& features) {
  check_dtype(kOp, name, t, features.scalar_type());
  check_same_device(kOp, name, t, "features", features);
}

void check_rows(const char* name, const at::Tensor& rows, const at::Tensor& features) {
  check_dim(kOp, name, rows, 1);
  check_dtype(kOp, name, rows, at::kInt);
  check_same_device(kOp, name, rows, "features", features);
}

void check_residual(size_t i, const at::Tensor& residual, const std::optional<at::Tensor>& rows,
                    const at::Tensor& features, const at::Tensor& weight, int64_t num_out) {
  const std::string name = "residuals[" + std::to_string(i) + "]";
  check_dim(kOp, name.c_str(), residual, 2);
  check_like_features(name.c_str(), residual, features);
  check_size(kOp, name.c_str(), residual, 1, weight.size(1));
  check_row_count(kOp, name.c_str(), residual.size(0));
  if (!rows) {
    check_size(kOp, name.c_str(), residual, 0, num_out);
    return;
  }
  const std::string rows_name = "rows of " + name;
  check_rows(rows_name.c_str(), *rows, features);
  check_size(kOp, rows_name.c_str(), *rows, 0, num_out);
}

// What is multiplied and what is added.
struct Linear {
  const at::Tensor& features;
  const std::optional<at::Tensor>& rows;
  const at::Tensor& weight;
  const std::optional<at::Tensor>& bias;
  at::TensorList residuals;
  const OptionalTensors& residual_rows;
  const std::optional<at::Tensor>& num_rows;

  int64_t num_out() const { return rows ? rows->size(0) : features.size(0); }
};

void check(const Linear& linear) {
  const auto& [features, rows, weight, bias, residuals, residual_rows, num_rows] = linear;
  check_dim(kOp, "features", features, 2);
  check_floating(kOp, "features", features);
  check_row_count(kOp, "features", features.size(0));
  if (rows) check_rows("rows", *rows, features);
  check_dim(kOp, "weight", weight, 2);
  check_like_features("weight", weight, features);
  check_size(kOp, "weight", weight, 0, features.size(1));
  if (bias) {
    check_dim(kOp, "bias", *bias, 1);
    check_like_features("bias", *bias, features);
    check_size(kOp, "bias", *bias, 0, weight.size(1));
  }
  TORCH_CHECK_VALUE(residuals.size() == residual_rows.size(), kOp,
                    ": `residual_rows` must have one entry for each of `residuals`, got ",
                    residual_rows.size(), " for ", residuals.size());
  TORCH_CHECK_VALUE(residuals.size() <= kMaxResiduals, kOp, ": `residuals` must be at most ",
                    kMaxResiduals, ", got ", residuals.size());
  const int64_t num_out = linear.num_out();
  check_row_count(kOp, "rows", num_out);
  for (size_t i = 0; i < residuals.size(); ++i) {
    check_residual(i, residuals[i], residual_rows.get(i), features, weight, num_out);
  }
  check_num_rows(kOp, num_rows, num_out, "features", features);
}

// A matrix as a kernel takes it and its row numbers, kept alive beside the pointers.
struct Gathered {
  at::Tensor matrix;
  at::Tensor rows;

  Gathered(at::Tensor matrix_, const std::optional<at::Tensor>& rows_)
      : matrix(std::move(matrix_)), rows(contiguous(rows_)) {}

  const int32_t* row_numbers() const {
    return rows.defined() ? rows.const_data_ptr<int32_t>() : nullptr;
  }
};

// `convert` makes of a residual what the kernel takes.
template <typename Convert>
std::vector<Gathered> gathered_residuals(const Linear& linear, const Convert& convert) {
  std::vector<Gathered> residuals;
  for (size_t i = 0; i < linear.residuals.size(); ++i) {
    residuals.emplace_back(convert(linear.residuals[i]), linear.residual_rows.get(i));
  }
  return residuals;
}

// ---- CPU

template <typename T>
GatheredRows<T> cpu_pointers(const Gathered& from) {
  return {computed_data<T>(from.matrix), from.row_numbers(), from.matrix.size(0)};
}

at::Tensor linear_fused_cpu(const at::Tensor& features, const std::optional<at::Tensor>& rows,
                            const at::Tensor& weight_, const std::optional<at::Tensor>& bias_,
                            at::TensorList residuals, const OptionalTensors& residual_rows,
                            double negative_slope, const std::optional<at::Tensor>& num_rows) {
  const Linear linear{features, rows, weight_, bias_, residuals, residual_rows, num_rows};
  check(linear);
  const ProductTypes types(features, features.size(1));
  const Gathered input(types.as_computed(features), rows);
  const std::vector<Gathered> added =
      gathered_residuals(linear, [&](const at::Tensor& t) { return types.as_computed(t); });
  const at::Tensor weight = types.as_computed(weight_), bias = types.as_computed(bias_);
  const cpu::LinearShape shape{linear.num_out(), weight.size(0), weight.size(1)};
  at::Tensor out = empty({shape.num_out, shape.c_out}, weight.options());
  ProductTypes::dispatch(weight, [&](auto number) {
    using T = decltype(number);
    std::vector<GatheredRows<T>> pointers;
    for (const Gathered& g : added) pointers.push_back(cpu_pointers<T>(g));
    const bool in_range = cpu::linear_fused<T>(
        shape, cpu_pointers<T>(input), computed_data<T>(weight), computed_data<T>(bias), pointers,
        static_cast<cpu::sum_t<T>>(negative_slope), num_rows_data(num_rows),
        static_cast<T*>(out.mutable_data_ptr()));
    TORCH_CHECK_INDEX(in_range, kOp,
                      ": `rows` must be -1 or a row of their matrix, got a number outside");
  });
  return out.to(features.scalar_type());
}

// ---- CUDA

#ifdef ELITE_WITH_CUDA

template <typename scalar_t>
GatheredRows<cuda_scalar<scalar_t>> cuda_pointers(const Gathered& from) {
  return {cuda_data<scalar_t>(from.matrix), from.row_numbers(), from.matrix.size(0)};
}

at::Tensor linear_fused_cuda(const at::Tensor& features, const std::optional<at::Tensor>& rows,
                             const at::Tensor& weight_, const std::optional<at::Tensor>& bias_,
                             at::TensorList residuals, const OptionalTensors& residual_rows,
                             double negative_slope, const std::optional<at::Tensor>& num_rows) {
  const Linear linear{features, rows, weight_, bias_, residuals, residual_rows, num_rows};
  check(linear);
  const c10::cuda::CUDAGuard guard(features.device());
  const Gathered input(features.contiguous(), rows);
  const std::vector<Gathered> added =
      gathered_residuals(linear, [](const at::Tensor& t) { return t.contiguous(); });
  const at::Tensor weight = weight_.contiguous(), bias = contiguous(bias_);
  at::Tensor out = empty({linear.num_out(), weight.size(1)}, weight.options());
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, weight.scalar_type(), kOp, [&] {
    cuda::LinearArguments<cuda_scalar<scalar_t>> args;
    args.num_out = out.size(0);
    args.c_in = weight.size(0);
    args.c_out = weight.size(1);
    args.features = cuda_pointers<scalar_t>(input);
    args.weight = cuda_data<scalar_t>(weight);
    if (bias.defined()) args.epilogue.bias = cuda_data<scalar_t>(bias);
    for (size_t i = 0; i < added.size(); ++i) {
      args.epilogue.residuals[i] = cuda_pointers<scalar_t>(added[i]);
    }
    args.epilogue.negative_slope = negative_slope;
    args.num_rows = num_rows_data(num_rows);
    args.out = cuda_mutable_data<scalar_t>(out);
    args.error_flag = device_error_flag(ErrorSource::kLinearFused);
    C10_CUDA_CHECK(cuda::linear_fused(args, allows_tf32(features.scalar_type()),
                                      c10::cuda::getCurrentCUDAStream()));
  });
  return out;
}

#endif

}  // namespace

TORCH_LIBRARY_FRAGMENT(elite_ops, m) {
  m.def(
      "linear_fused(Tensor features, Tensor? rows, Tensor weight, Tensor? bias, "
      "Tensor[] residuals, Tensor?[] residual_rows, float negative_slope, "
      "Tensor? num_rows=None) -> Tensor");
}
TORCH_LIBRARY_IMPL(elite_ops, CPU, m) { m.impl("linear_fused", &linear_fused_cpu); }
#ifdef ELITE_WITH_CUDA
TORCH_LIBRARY_IMPL(elite_ops, CUDA, m) { m.impl("linear_fused", &linear_fused_cuda); }
#endif

}  // namespace elite_ops
