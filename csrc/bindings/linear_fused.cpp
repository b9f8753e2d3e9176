#include "cpu/linear_fused.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <optional>
#include <string>
#include <vector>

#include "check.h"
#include "compute_type.h"
#ifdef ELITE_WITH_CUDA
#include <ATen/ops/addmm.h>
#include <ATen/ops/leaky_relu.h>
#include <ATen/ops/mm.h>

#include "cuda.h"
#include "cuda/voxel_to_point.h"
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

// Returns how many rows the result has.
int64_t check(const at::Tensor& features, const std::optional<at::Tensor>& rows,
              const at::Tensor& weight, const std::optional<at::Tensor>& bias,
              at::TensorList residuals, const OptionalTensors& residual_rows) {
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
  const int64_t num_out = rows ? rows->size(0) : features.size(0);
  for (size_t i = 0; i < residuals.size(); ++i) {
    check_residual(i, residuals[i], residual_rows.get(i), features, weight, num_out);
  }
  return num_out;
}

// ---- CPU

// A matrix and its row numbers as the kernel takes them, kept alive beside the pointers.
struct Gathered {
  at::Tensor matrix;
  at::Tensor rows;

  Gathered(const at::Tensor& matrix_, const std::optional<at::Tensor>& rows_)
      : matrix(as_computed(matrix_)), rows(rows_ ? rows_->contiguous() : at::Tensor()) {}

  template <typename scalar_t>
  cpu::GatheredRows<scalar_t> pointers() const {
    return {matrix.const_data_ptr<scalar_t>(),
            rows.defined() ? rows.const_data_ptr<int32_t>() : nullptr, matrix.size(0)};
  }
};

at::Tensor linear_fused_cpu(const at::Tensor& features, const std::optional<at::Tensor>& rows,
                            const at::Tensor& weight_, const std::optional<at::Tensor>& bias_,
                            at::TensorList residuals, const OptionalTensors& residual_rows,
                            double negative_slope) {
  const int64_t num_out = check(features, rows, weight_, bias_, residuals, residual_rows);
  const Gathered input(features, rows);
  std::vector<Gathered> added;
  for (size_t i = 0; i < residuals.size(); ++i) {
    added.emplace_back(residuals[i], residual_rows.get(i));
  }
  const at::Tensor weight = as_computed(weight_), bias = as_computed(bias_);
  const cpu::LinearShape shape{num_out, weight.size(0), weight.size(1)};
  at::Tensor out = at::empty({num_out, shape.c_out}, weight.options());
  AT_DISPATCH_FLOATING_TYPES(weight.scalar_type(), kOp, [&] {
    std::vector<cpu::GatheredRows<scalar_t>> pointers;
    for (const Gathered& g : added) pointers.push_back(g.pointers<scalar_t>());
    const bool in_range = cpu::linear_fused<scalar_t>(
        shape, input.pointers<scalar_t>(), weight.const_data_ptr<scalar_t>(),
        bias_ ? bias.const_data_ptr<scalar_t>() : nullptr, pointers,
        static_cast<scalar_t>(negative_slope), out.mutable_data_ptr<scalar_t>());
    TORCH_CHECK_INDEX(in_range, kOp,
                      ": `rows` must be -1 or a row of their matrix, got a number outside");
  });
  return out.to(features.scalar_type());
}

// ---- CUDA: torch's product and our gathers

#ifdef ELITE_WITH_CUDA

at::Tensor gather(const at::Tensor& matrix_, const std::optional<at::Tensor>& rows_) {
  if (!rows_) return matrix_;
  const at::Tensor matrix = matrix_.contiguous(), rows = rows_->contiguous();
  at::Tensor out = at::empty({rows.size(0), matrix.size(1)}, matrix.options());
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, matrix.scalar_type(), kOp, [&] {
    C10_CUDA_CHECK(cuda::voxel_to_point(
        cuda_data<scalar_t>(matrix), rows.const_data_ptr<int32_t>(), rows.size(0), matrix.size(0),
        matrix.size(1), cuda_mutable_data<scalar_t>(out), c10::cuda::getCurrentCUDAStream()));
  });
  return out;
}

at::Tensor linear_fused_cuda(const at::Tensor& features, const std::optional<at::Tensor>& rows,
                             const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                             at::TensorList residuals, const OptionalTensors& residual_rows,
                             double negative_slope) {
  check(features, rows, weight, bias, residuals, residual_rows);
  const c10::cuda::CUDAGuard guard(features.device());
  const at::Tensor gathered = gather(features, rows);
  at::Tensor out = bias ? at::addmm(*bias, gathered, weight) : at::mm(gathered, weight);
  for (size_t i = 0; i < residuals.size(); ++i) {
    out.add_(gather(residuals[i], residual_rows.get(i)));
  }
  return negative_slope == 1 ? out : at::leaky_relu(out, negative_slope);
}

#endif

}  // namespace

TORCH_LIBRARY_FRAGMENT(elite_ops, m) {
  m.def(
      "linear_fused(Tensor features, Tensor? rows, Tensor weight, Tensor? bias, "
      "Tensor[] residuals, Tensor?[] residual_rows, float negative_slope) -> Tensor");
}
TORCH_LIBRARY_IMPL(elite_ops, CPU, m) { m.impl("linear_fused", &linear_fused_cpu); }
#ifdef ELITE_WITH_CUDA
TORCH_LIBRARY_IMPL(elite_ops, CUDA, m) { m.impl("linear_fused", &linear_fused_cuda); }
#endif

}  // namespace elite_ops
