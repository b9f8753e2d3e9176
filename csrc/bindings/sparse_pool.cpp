#include "cpu/sparse_pool.h"

#include <optional>
#include <tuple>

#include "compute_type.h"
#include "empty.h"
#include "kernel_table.h"
#include "op.h"
#ifdef ELITE_WITH_CUDA
#include "cuda/sparse_pool.h"
#endif

namespace elite_ops {
namespace {

using Pair = std::tuple<at::Tensor, at::Tensor>;

// A matrix of so many rows, with the channels and the type of another.
at::Tensor empty_rows(int64_t rows, const at::Tensor& like) {
  return empty({rows, like.size(1)}, like.options());
}

struct SparseMaxPool {
  static constexpr auto kName = "sparse_max_pool";

  at::Tensor features;  // [V_in, C]
  at::Tensor in_rows;   // [K, V_out]

  static SparseMaxPool check(const at::Tensor& features, const at::Tensor& in_rows,
                             const std::optional<at::Tensor>& out_rows) {
    check_features(kName, "features", features);
    check_tables(kName, in_rows, out_rows, features);
    return {features.contiguous(), in_rows.contiguous()};
  }

  Pair run_cpu() const {
    const at::Tensor f = as_computed(features);
    auto [out, argmax] = allocate(f);
    const bool in_range = dispatch_cpu(f.scalar_type(), [&](auto number) {
      using T = decltype(number);
      return cpu::sparse_max_pool(table(), f.size(1), data<T>(f), mutable_data<T>(out),
                                  mutable_data<int32_t>(argmax));
    });
    check_rows_in_range(kName, "in_rows", in_range, "features", f.size(0));
    return {out.to(features.scalar_type()), argmax};
  }

#ifdef ELITE_WITH_CUDA
  Pair run_cuda() const {
    auto [out, argmax] = allocate(features);
    dispatch_cuda(features.scalar_type(), [&](auto number) {
      using T = decltype(number);
      C10_CUDA_CHECK(cuda::sparse_max_pool(table(), features.size(1), data<T>(features),
                                           mutable_data<T>(out), mutable_data<int32_t>(argmax),
                                           device_error_flag(ErrorSource::kSparseMaxPool),
                                           c10::cuda::getCurrentCUDAStream()));
    });
    return {out, argmax};
  }
#endif

 private:
  KernelTable table() const { return kernel_table(in_rows, features.size(0)); }
  Pair allocate(const at::Tensor& like) const {
    at::Tensor out = empty_rows(in_rows.size(1), like);
    return {out, empty(out.sizes(), in_rows.options())};
  }
};

// The gradients come back along `out_rows` [K, V_in], which names rows of the output.
void check_backward(const char* op, const at::Tensor& grad_out, const at::Tensor& out_rows) {
  check_features(op, "grad_out", grad_out);
  check_table(op, "out_rows", out_rows, "grad_out", grad_out);
}

void check_argmax(const char* op, const at::Tensor& argmax, const char* with_name,
                  const at::Tensor& with) {
  check_dim(op, "argmax", argmax, 2);
  check_dtype(op, "argmax", argmax, at::kInt);
  check_same_device(op, "argmax", argmax, with_name, with);
  check_size(op, "argmax", argmax, 1, with.size(1));
}

struct SparseMaxPoolBackward {
  static constexpr auto kName = "sparse_max_pool_backward";

  at::Tensor grad_out;  // [V_out, C]
  at::Tensor argmax;    // [V_out, C]
  at::Tensor out_rows;  // [K, V_in]

  static SparseMaxPoolBackward check(const at::Tensor& grad_out, const at::Tensor& argmax,
                                     const at::Tensor& out_rows) {
    check_backward(kName, grad_out, out_rows);
    check_argmax(kName, argmax, "grad_out", grad_out);
    check_size(kName, "argmax", argmax, 0, grad_out.size(0));
    return {grad_out.contiguous(), argmax.contiguous(), out_rows.contiguous()};
  }

  at::Tensor run_cpu() const {
    const at::Tensor g = as_computed(grad_out);
    at::Tensor grad_features = empty_rows(out_rows.size(1), g);
    const bool in_range = dispatch_cpu(g.scalar_type(), [&](auto number) {
      using T = decltype(number);
      return cpu::sparse_max_pool_backward(table(), g.size(1), data<T>(g), data<int32_t>(argmax),
                                           mutable_data<T>(grad_features));
    });
    check_rows_in_range(kName, "out_rows", in_range, "grad_out", g.size(0));
    return grad_features.to(grad_out.scalar_type());
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    at::Tensor grad_features = empty_rows(out_rows.size(1), grad_out);
    dispatch_cuda(grad_out.scalar_type(), [&](auto number) {
      using T = decltype(number);
      C10_CUDA_CHECK(cuda::sparse_max_pool_backward(
          table(), grad_out.size(1), data<T>(grad_out), data<int32_t>(argmax),
          mutable_data<T>(grad_features), device_error_flag(ErrorSource::kSparseMaxPool),
          c10::cuda::getCurrentCUDAStream()));
    });
    return grad_features;
  }
#endif

 private:
  KernelTable table() const { return kernel_table(out_rows, grad_out.size(0)); }
};

struct SparseMaxPoolTake {
  static constexpr auto kName = "sparse_max_pool_take";

  at::Tensor features;  // [V_in, C]
  at::Tensor argmax;    // [V_out, C]

  static SparseMaxPoolTake check(const at::Tensor& features, const at::Tensor& argmax,
                                 const at::Tensor& out_rows) {
    check_features(kName, "features", features);
    check_argmax(kName, argmax, "features", features);
    check_table(kName, "out_rows", out_rows, "features", features);
    check_size(kName, "out_rows", out_rows, 1, features.size(0));
    return {features.contiguous(), argmax.contiguous()};
  }

  at::Tensor run_cpu() const {
    const at::Tensor f = as_computed(features);
    at::Tensor out = empty_rows(argmax.size(0), f);
    const bool in_range = dispatch_cpu(f.scalar_type(), [&](auto number) {
      using T = decltype(number);
      return cpu::sparse_max_pool_take(f.size(0), out.size(0), f.size(1), data<T>(f),
                                       data<int32_t>(argmax), mutable_data<T>(out));
    });
    check_rows_in_range(kName, "argmax", in_range, "features", f.size(0));
    return out.to(features.scalar_type());
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    at::Tensor out = empty_rows(argmax.size(0), features);
    dispatch_cuda(features.scalar_type(), [&](auto number) {
      using T = decltype(number);
      C10_CUDA_CHECK(cuda::sparse_max_pool_take(
          features.size(0), out.size(0), features.size(1), data<T>(features), data<int32_t>(argmax),
          mutable_data<T>(out), device_error_flag(ErrorSource::kSparseMaxPool),
          c10::cuda::getCurrentCUDAStream()));
    });
    return out;
  }
#endif
};

struct SparseAvgPool {
  static constexpr auto kName = "sparse_avg_pool";

  at::Tensor features;  // [V_in, C]
  at::Tensor in_rows;   // [K, V_out]

  static SparseAvgPool check(const at::Tensor& features, const at::Tensor& in_rows,
                             const std::optional<at::Tensor>& out_rows) {
    check_features(kName, "features", features);
    check_tables(kName, in_rows, out_rows, features);
    return {features.contiguous(), in_rows.contiguous()};
  }

  Pair run_cpu() const {
    const at::Tensor f = as_computed(features);
    auto [out, counts] = allocate(f);
    const bool in_range = dispatch_cpu(f.scalar_type(), [&](auto number) {
      using T = decltype(number);
      return cpu::sparse_avg_pool(table(), f.size(1), data<T>(f), mutable_data<T>(out),
                                  mutable_data<int32_t>(counts));
    });
    check_rows_in_range(kName, "in_rows", in_range, "features", f.size(0));
    return {out.to(features.scalar_type()), counts};
  }

#ifdef ELITE_WITH_CUDA
  Pair run_cuda() const {
    auto [out, counts] = allocate(features);
    dispatch_cuda(features.scalar_type(), [&](auto number) {
      using T = decltype(number);
      C10_CUDA_CHECK(cuda::sparse_avg_pool(table(), features.size(1), data<T>(features),
                                           mutable_data<T>(out), mutable_data<int32_t>(counts),
                                           device_error_flag(ErrorSource::kSparseAvgPool),
                                           c10::cuda::getCurrentCUDAStream()));
    });
    return {out, counts};
  }
#endif

 private:
  KernelTable table() const { return kernel_table(in_rows, features.size(0)); }
  Pair allocate(const at::Tensor& like) const {
    return {empty_rows(in_rows.size(1), like), empty({in_rows.size(1)}, in_rows.options())};
  }
};

struct SparseAvgPoolBackward {
  static constexpr auto kName = "sparse_avg_pool_backward";

  at::Tensor grad_out;  // [V_out, C]
  at::Tensor counts;    // [V_out]
  at::Tensor out_rows;  // [K, V_in]

  static SparseAvgPoolBackward check(const at::Tensor& grad_out, const at::Tensor& counts,
                                     const at::Tensor& in_rows, const at::Tensor& out_rows) {
    check_backward(kName, grad_out, out_rows);
    check_table(kName, "in_rows", in_rows, "grad_out", grad_out);
    check_size(kName, "in_rows", in_rows, 0, out_rows.size(0));
    check_size(kName, "in_rows", in_rows, 1, grad_out.size(0));
    check_dim(kName, "counts", counts, 1);
    check_dtype(kName, "counts", counts, at::kInt);
    check_same_device(kName, "counts", counts, "grad_out", grad_out);
    check_size(kName, "counts", counts, 0, grad_out.size(0));
    return {grad_out.contiguous(), counts.contiguous(), out_rows.contiguous()};
  }

  at::Tensor run_cpu() const {
    const at::Tensor g = as_computed(grad_out);
    at::Tensor grad_features = empty_rows(out_rows.size(1), g);
    const bool in_range = dispatch_cpu(g.scalar_type(), [&](auto number) {
      using T = decltype(number);
      return cpu::sparse_avg_pool_backward(table(), g.size(1), data<T>(g), data<int32_t>(counts),
                                           mutable_data<T>(grad_features));
    });
    check_rows_in_range(kName, "out_rows", in_range, "grad_out", g.size(0));
    return grad_features.to(grad_out.scalar_type());
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    at::Tensor grad_features = empty_rows(out_rows.size(1), grad_out);
    dispatch_cuda(grad_out.scalar_type(), [&](auto number) {
      using T = decltype(number);
      C10_CUDA_CHECK(cuda::sparse_avg_pool_backward(
          table(), grad_out.size(1), data<T>(grad_out), data<int32_t>(counts),
          mutable_data<T>(grad_features), device_error_flag(ErrorSource::kSparseAvgPool),
          c10::cuda::getCurrentCUDAStream()));
    });
    return grad_features;
  }
#endif

 private:
  KernelTable table() const { return kernel_table(out_rows, grad_out.size(0)); }
};

}  // namespace

// The other table of the map is what the gradients need (elite_ops/kernel_map.py). Which offset
// a row is met under makes no difference to them: a symmetric map's table needs no reversal.
ELITE_OP(SparseMaxPool,
         "sparse_max_pool(Tensor features, Tensor in_rows, Tensor? out_rows=None) "
         "-> (Tensor out, Tensor argmax)");
ELITE_OP(SparseMaxPoolBackward,
         "sparse_max_pool_backward(Tensor grad_out, Tensor argmax, Tensor out_rows) -> Tensor");
ELITE_OP(SparseMaxPoolTake,
         "sparse_max_pool_take(Tensor features, Tensor argmax, Tensor out_rows) -> Tensor");
ELITE_OP(SparseAvgPool,
         "sparse_avg_pool(Tensor features, Tensor in_rows, Tensor? out_rows=None) "
         "-> (Tensor out, Tensor counts)");
ELITE_OP(SparseAvgPoolBackward,
         "sparse_avg_pool_backward(Tensor grad_out, Tensor counts, Tensor in_rows, "
         "Tensor out_rows) -> Tensor");

}  // namespace elite_ops
