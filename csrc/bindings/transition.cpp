#include "cpu/transition.h"

#include <optional>
#include <tuple>

#include "compute_type.h"
#include "cpu/csr_reduce.h"
#include "empty.h"
#include "op.h"
#include "segments.h"
#ifdef ELITE_WITH_CUDA
#include "cuda/csr_reduce.h"
#include "cuda/transition.h"
#endif

namespace elite_ops {
namespace {

void check_same_points(const char* op, const at::Tensor& fine, const at::Tensor& coarse) {
  TORCH_CHECK_VALUE(coarse.size(0) == fine.size(0), op,
                    ": `fine` and `coarse` must have the same points, got ", fine.size(0), " and ",
                    coarse.size(0));
}

struct BuildTransition {
  static constexpr auto kName = "build_transition";
  // Offsets, columns and weights of the operator, then of its transpose.
  using Result = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

  SegmentTensors fine, coarse;

  static BuildTransition check(const at::Tensor& fine_inverse, const at::Tensor& fine_order,
                               const at::Tensor& fine_offsets, const at::Tensor& coarse_inverse,
                               const at::Tensor& coarse_order, const at::Tensor& coarse_offsets) {
    auto fine = SegmentTensors::check(kName, fine_inverse, fine_order, fine_offsets, "fine",
                                      fine_inverse, "fine");
    auto coarse = SegmentTensors::check(kName, coarse_inverse, coarse_order, coarse_offsets, "fine",
                                        fine_inverse, "coarse");
    check_same_points(kName, fine_inverse, coarse_inverse);
    return {std::move(fine), std::move(coarse)};
  }

  Result run_cpu() const {
    Result matrices = allocate();
    auto& [offsets, columns, weights, t_offsets, t_columns, t_weights] = matrices;
    cpu::build_transition(voxels(fine), voxels(coarse), fine.num_points(),
                          output(offsets, columns, weights),
                          output(t_offsets, t_columns, t_weights));
    return matrices;
  }

#ifdef ELITE_WITH_CUDA
  Result run_cuda() const {
    Result matrices = allocate();
    auto& [offsets, columns, weights, t_offsets, t_columns, t_weights] = matrices;
    const size_t bytes = cuda::build_transition_workspace_bytes(
        fine.num_points(), fine.num_segments(), coarse.num_segments());
    at::Tensor workspace = empty({static_cast<int64_t>(bytes)}, columns.options().dtype(at::kByte));
    C10_CUDA_CHECK(cuda::build_transition(
        voxels(fine), voxels(coarse), fine.num_points(), workspace.mutable_data_ptr(),
        output(offsets, columns, weights), output(t_offsets, t_columns, t_weights),
        c10::cuda::getCurrentCUDAStream()));
    return matrices;
  }
#endif

 private:
  Result allocate() const {
    const int64_t capacity = fine.num_points();
    const auto rows = fine.inverse.options(), weights = rows.dtype(at::kFloat);
    return {
        empty(coarse.offsets.sizes(), rows), empty({capacity}, rows), empty({capacity}, weights),
        empty(fine.offsets.sizes(), rows),   empty({capacity}, rows), empty({capacity}, weights)};
  }

  static CsrOutput output(at::Tensor& offsets, at::Tensor& columns, at::Tensor& weights) {
    return {mutable_data<int32_t>(offsets), mutable_data<int32_t>(columns),
            mutable_data<float>(weights)};
  }

  static PointVoxels voxels(const SegmentTensors& segments) {
    return {data<int32_t>(segments.inverse), data<int32_t>(segments.order),
            segments.num_segments()};
  }
};

// Rows of `features`, summed by a CSR list.
at::Tensor reduce_cpu(const at::Tensor& features, const Csr& csr, bool mean) {
  const at::Tensor computed = as_computed(features);
  at::Tensor out = empty({csr.rows, features.size(1)}, computed.options());
  dispatch_cpu(features.scalar_type(), [&](auto number) {
    using T = decltype(number);
    cpu::csr_reduce(data<T>(computed), features.size(1), csr, mean, mutable_data<T>(out));
  });
  return out.to(features.scalar_type());
}

#ifdef ELITE_WITH_CUDA
at::Tensor reduce_cuda(const at::Tensor& features, const Csr& csr, bool mean) {
  at::Tensor out = empty({csr.rows, features.size(1)}, features.options());
  dispatch_cuda(features.scalar_type(), [&](auto number) {
    using T = decltype(number);
    C10_CUDA_CHECK(cuda::csr_reduce(data<T>(features), features.size(1), csr, mean,
                                    mutable_data<T>(out), c10::cuda::getCurrentCUDAStream()));
  });
  return out;
}
#endif

struct Transition {
  static constexpr auto kName = "transition";

  at::Tensor features;                   // [V_fine, C]
  at::Tensor offsets, columns, weights;  // of the operator
  std::optional<at::Tensor> num_rows;

  // The transpose is what the gradient needs: all of it or none.
  static Transition check(const at::Tensor& features, const at::Tensor& offsets,
                          const at::Tensor& columns, const at::Tensor& weights,
                          const std::optional<at::Tensor>& transposed_offsets,
                          const std::optional<at::Tensor>& transposed_columns,
                          const std::optional<at::Tensor>& transposed_weights,
                          const std::optional<at::Tensor>& num_rows) {
    check_dim(kName, "features", features, 2);
    check_floating(kName, "features", features);
    check_matrix("offsets", offsets, "columns", columns, "weights", weights, features);
    TORCH_CHECK_VALUE(transposed_offsets.has_value() == transposed_columns.has_value() &&
                          transposed_offsets.has_value() == transposed_weights.has_value(),
                      kName,
                      ": `transposed_offsets`, `transposed_columns` and `transposed_weights` must "
                      "be given together");
    if (transposed_offsets) {
      check_matrix("transposed_offsets", *transposed_offsets, "transposed_columns",
                   *transposed_columns, "transposed_weights", *transposed_weights, features);
      check_size(kName, "features", features, 0, transposed_offsets->size(0) - 1);
    }
    check_num_rows(kName, num_rows, offsets.size(0) - 1, "features", features);
    return {features.contiguous(), offsets.contiguous(), columns.contiguous(), weights.contiguous(),
            num_rows};
  }

  at::Tensor run_cpu() const { return reduce_cpu(features, csr(), false); }
#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const { return reduce_cuda(features, csr(), false); }
#endif

 private:
  static void check_matrix(const char* of_offsets, const at::Tensor& offsets,
                           const char* of_columns, const at::Tensor& columns,
                           const char* of_weights, const at::Tensor& weights,
                           const at::Tensor& features) {
    check_row_numbers(kName, of_columns, columns, 1, "features", features);
    check_offsets(kName, of_offsets, offsets, columns.size(0), "features", features);
    check_dim(kName, of_weights, weights, 1);
    check_dtype(kName, of_weights, weights, at::kFloat);
    check_same_device(kName, of_weights, weights, "features", features);
    check_size(kName, of_weights, weights, 0, columns.size(0));
  }

  Csr csr() const {
    return {data<int32_t>(offsets), data<int32_t>(columns), data<float>(weights),
            offsets.size(0) - 1, num_rows_data(num_rows)};
  }
};

struct TransitionByPoints {
  static constexpr auto kName = "transition_by_points";

  at::Tensor features;  // [V_fine, C]
  at::Tensor fine_inverse;
  SegmentTensors coarse;
  std::optional<at::Tensor> num_rows;

  // `fine_offsets` says how many fine voxels there are.
  static TransitionByPoints check(const at::Tensor& features, const at::Tensor& fine_inverse,
                                  const at::Tensor& fine_offsets, const at::Tensor& coarse_inverse,
                                  const at::Tensor& coarse_order, const at::Tensor& coarse_offsets,
                                  const std::optional<at::Tensor>& num_rows) {
    check_dim(kName, "features", features, 2);
    check_floating(kName, "features", features);
    auto coarse = SegmentTensors::check(kName, coarse_inverse, coarse_order, coarse_offsets,
                                        "features", features, "coarse");
    check_row_numbers(kName, "fine.inverse", fine_inverse, 1, "features", features);
    check_offsets(kName, "fine.offsets", fine_offsets, fine_inverse.size(0), "features", features);
    check_same_points(kName, fine_inverse, coarse_inverse);
    check_size(kName, "features", features, 0, fine_offsets.size(0) - 1);
    check_num_rows(kName, num_rows, coarse.num_segments(), "features", features);
    return {features.contiguous(), fine_inverse.contiguous(), std::move(coarse), num_rows};
  }

  at::Tensor run_cpu() const { return reduce_cpu(features, csr(), true); }
#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const { return reduce_cuda(features, csr(), true); }
#endif

 private:
  Csr csr() const {
    Csr csr = coarse.csr(num_rows);
    csr.via = data<int32_t>(fine_inverse);
    return csr;
  }
};

}  // namespace

ELITE_OP(BuildTransition,
         "build_transition(Tensor fine_inverse, Tensor fine_order, Tensor fine_offsets,"
         " Tensor coarse_inverse, Tensor coarse_order, Tensor coarse_offsets)"
         " -> (Tensor offsets, Tensor columns, Tensor weights, Tensor transposed_offsets,"
         " Tensor transposed_columns, Tensor transposed_weights)");
ELITE_OP(Transition,
         "transition(Tensor features, Tensor offsets, Tensor columns, Tensor weights,"
         " Tensor? transposed_offsets=None, Tensor? transposed_columns=None,"
         " Tensor? transposed_weights=None, Tensor? num_rows=None) -> Tensor");
ELITE_OP(TransitionByPoints,
         "transition_by_points(Tensor features, Tensor fine_inverse, Tensor fine_offsets,"
         " Tensor coarse_inverse, Tensor coarse_order, Tensor coarse_offsets,"
         " Tensor? num_rows=None) -> Tensor");

}  // namespace elite_ops
