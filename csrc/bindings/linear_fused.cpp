#include "cpu/linear_fused.h"

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "check.h"
#include "compute_type.h"
#include "contiguous.h"
#include "empty.h"
#include "op.h"
#ifdef ELITE_WITH_CUDA
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

// A matrix as a kernel takes it, and the rows that it is read at: undefined for row i at row i.
struct Gathered {
  at::Tensor matrix;
  at::Tensor rows;

  template <typename T>
  GatheredRows<T> pointers() const {
    return {data<T>(matrix), data<int32_t>(rows), matrix.size(0)};
  }
};

// What is multiplied and what is added.
struct LinearFused {
  static constexpr auto kName = kOp;

  Gathered input;                   // [N, C_in], read at M rows
  at::Tensor weight;                // [C_in, C_out]
  at::Tensor bias;                  // [C_out], or undefined
  std::vector<Gathered> residuals;  // of C_out columns
  double negative_slope;
  std::optional<at::Tensor> num_rows;

  static LinearFused check(const at::Tensor& features, const std::optional<at::Tensor>& rows,
                           const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                           at::TensorList residuals, const OptionalTensors& residual_rows,
                           double negative_slope, const std::optional<at::Tensor>& num_rows) {
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
    TORCH_CHECK_VALUE(std::isfinite(negative_slope), kOp, ": `negative_slope` must be finite, got ",
                      negative_slope);
    const Gathered input{features.contiguous(), contiguous(rows)};
    LinearFused linear{input, weight.contiguous(), contiguous(bias), {}, negative_slope, num_rows};
    check_row_count(kOp, "rows", linear.num_out());
    for (size_t i = 0; i < residuals.size(); ++i) {
      check_residual(i, residuals[i], residual_rows.get(i), features, weight, linear.num_out());
      linear.residuals.push_back({residuals[i].contiguous(), contiguous(residual_rows.get(i))});
    }
    check_num_rows(kOp, num_rows, linear.num_out(), "features", features);
    return linear;
  }

  int64_t num_out() const { return (input.rows.defined() ? input.rows : input.matrix).size(0); }

  at::Tensor run_cpu() const {
    const ProductTypes types(input.matrix, weight.size(0));
    const auto computed = [&](const Gathered& g) {
      return Gathered{types.as_computed(g.matrix), g.rows};
    };
    const Gathered x = computed(input);
    const at::Tensor w = types.as_computed(weight), b = types.as_computed(bias);
    std::vector<Gathered> added;
    for (const Gathered& residual : residuals) added.push_back(computed(residual));
    const cpu::LinearShape shape{num_out(), w.size(0), w.size(1)};
    at::Tensor out = empty({shape.num_out, shape.c_out}, w.options());
    ProductTypes::dispatch(w, [&](auto number) {
      using T = decltype(number);
      std::vector<GatheredRows<T>> pointers;
      for (const Gathered& residual : added) pointers.push_back(residual.pointers<T>());
      const bool in_range =
          cpu::linear_fused<T>(shape, x.pointers<T>(), data<T>(w), data<T>(b), pointers,
                               static_cast<cpu::sum_t<T>>(negative_slope), num_rows_data(num_rows),
                               mutable_data<T>(out));
      TORCH_CHECK_INDEX(in_range, kOp,
                        ": `rows` must be -1 or a row of their matrix, got a number outside");
    });
    return out.to(weight.scalar_type());
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    at::Tensor out = empty({num_out(), weight.size(1)}, weight.options());
    dispatch_cuda(weight.scalar_type(), [&](auto number) {
      using T = decltype(number);
      cuda::LinearArguments<T> args;
      args.num_out = out.size(0);
      args.c_in = weight.size(0);
      args.c_out = weight.size(1);
      args.features = input.pointers<T>();
      args.weight = data<T>(weight);
      args.epilogue.bias = data<T>(bias);
      for (size_t i = 0; i < residuals.size(); ++i) {
        args.epilogue.residuals[i] = residuals[i].pointers<T>();
      }
      args.epilogue.negative_slope = negative_slope;
      args.num_rows = num_rows_data(num_rows);
      args.out = mutable_data<T>(out);
      args.error_flag = device_error_flag(ErrorSource::kLinearFused);
      C10_CUDA_CHECK(cuda::linear_fused(args, allows_tf32(weight.scalar_type()),
                                        c10::cuda::getCurrentCUDAStream()));
    });
    return out;
  }
#endif
};

}  // namespace

ELITE_OP(LinearFused,
         "linear_fused(Tensor features, Tensor? rows, Tensor weight, Tensor? bias, "
         "Tensor[] residuals, Tensor?[] residual_rows, float negative_slope, "
         "Tensor? num_rows=None) -> Tensor");

}  // namespace elite_ops
