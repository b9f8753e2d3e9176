#include "cpu/transition.h"

#include <ATen/Dispatch.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

#include "compute_type.h"
#include "cpu/csr_reduce.h"
#include "empty.h"
#include "segments.h"
#ifdef ELITE_WITH_CUDA
#include "cuda.h"
#include "cuda/csr_reduce.h"
#include "cuda/transition.h"
#endif

namespace elite_ops {
namespace {

// offsets, columns and weights of the operator, then of its transpose.
using CsrPair = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

void check_build(const at::Tensor& fine_inverse, const at::Tensor& fine_order,
                 const at::Tensor& fine_offsets, const at::Tensor& coarse_inverse,
                 const at::Tensor& coarse_order, const at::Tensor& coarse_offsets) {
  constexpr const char* op = "build_transition";
  check_segments(op, fine_inverse, fine_order, fine_offsets, "fine", fine_inverse);
  check_segments(op, coarse_inverse, coarse_order, coarse_offsets, "fine", fine_inverse);
  TORCH_CHECK_VALUE(coarse_inverse.size(0) == fine_inverse.size(0), op,
                    ": `fine` and `coarse` must have the same points, got ", fine_inverse.size(0),
                    " and ", coarse_inverse.size(0));
}

void check_apply(const at::Tensor& features, const at::Tensor& offsets, const at::Tensor& columns,
                 const at::Tensor& weights, const at::Tensor& transposed_offsets,
                 const std::optional<at::Tensor>& num_rows) {
  constexpr const char* op = "transition";
  check_dim(op, "features", features, 2);
  check_floating(op, "features", features);
  check_dtype(op, "offsets", offsets, at::kInt);
  check_dtype(op, "columns", columns, at::kInt);
  check_dtype(op, "weights", weights, at::kFloat);
  check_same_device(op, "offsets", offsets, "features", features);
  check_same_device(op, "columns", columns, "features", features);
  check_same_device(op, "weights", weights, "features", features);
  check_size(op, "features", features, 0, transposed_offsets.size(0) - 1);
  check_num_rows(op, num_rows, offsets.size(0) - 1, "features", features);
}

void check_by_points(const at::Tensor& features, const at::Tensor& fine_inverse,
                     const at::Tensor& coarse_inverse, const at::Tensor& coarse_order,
                     const at::Tensor& coarse_offsets, const std::optional<at::Tensor>& num_rows) {
  constexpr const char* op = "transition_by_points";
  check_dim(op, "features", features, 2);
  check_floating(op, "features", features);
  check_segments(op, coarse_inverse, coarse_order, coarse_offsets, "features", features);
  check_segments(op, fine_inverse, fine_inverse, coarse_offsets, "features", features);
  TORCH_CHECK_VALUE(coarse_inverse.size(0) == fine_inverse.size(0), op,
                    ": `fine` and `coarse` must have the same points, got ", fine_inverse.size(0),
                    " and ", coarse_inverse.size(0));
  check_num_rows(op, num_rows, coarse_offsets.size(0) - 1, "features", features);
}

CsrPair allocate(const at::Tensor& fine_inverse, const at::Tensor& fine_offsets,
                 const at::Tensor& coarse_offsets) {
  const int64_t capacity = fine_inverse.size(0);
  const auto rows = fine_inverse.options(), weights = rows.dtype(at::kFloat);
  return {empty(coarse_offsets.sizes(), rows), empty({capacity}, rows), empty({capacity}, weights),
          empty(fine_offsets.sizes(), rows),   empty({capacity}, rows), empty({capacity}, weights)};
}

CsrOutput output(at::Tensor& offsets, at::Tensor& columns, at::Tensor& weights) {
  return {offsets.mutable_data_ptr<int32_t>(), columns.mutable_data_ptr<int32_t>(),
          weights.mutable_data_ptr<float>()};
}

PointVoxels point_voxels(const at::Tensor& inverse, const at::Tensor& order,
                         const at::Tensor& offsets) {
  return {inverse.const_data_ptr<int32_t>(), order.const_data_ptr<int32_t>(), offsets.size(0) - 1};
}

Csr weighted_csr(const at::Tensor& offsets, const at::Tensor& columns, const at::Tensor& weights,
                 const std::optional<at::Tensor>& num_rows) {
  return {offsets.const_data_ptr<int32_t>(), columns.const_data_ptr<int32_t>(),
          weights.const_data_ptr<float>(), offsets.size(0) - 1, num_rows_data(num_rows)};
}

CsrPair build_transition_cpu(const at::Tensor& fine_inverse_, const at::Tensor& fine_order_,
                             const at::Tensor& fine_offsets, const at::Tensor& coarse_inverse_,
                             const at::Tensor& coarse_order_, const at::Tensor& coarse_offsets) {
  check_build(fine_inverse_, fine_order_, fine_offsets, coarse_inverse_, coarse_order_,
              coarse_offsets);
  const at::Tensor fine_inverse = fine_inverse_.contiguous(), fine_order = fine_order_.contiguous();
  const at::Tensor coarse_inverse = coarse_inverse_.contiguous();
  const at::Tensor coarse_order = coarse_order_.contiguous();
  CsrPair pair = allocate(fine_inverse, fine_offsets, coarse_offsets);
  auto& [offsets, columns, weights, t_offsets, t_columns, t_weights] = pair;
  cpu::build_transition(point_voxels(fine_inverse, fine_order, fine_offsets),
                        point_voxels(coarse_inverse, coarse_order, coarse_offsets),
                        fine_inverse.size(0), output(offsets, columns, weights),
                        output(t_offsets, t_columns, t_weights));
  return pair;
}

at::Tensor transition_cpu(const at::Tensor& features_, const at::Tensor& offsets_,
                          const at::Tensor& columns_, const at::Tensor& weights_,
                          const at::Tensor& t_offsets, const at::Tensor&, const at::Tensor&,
                          const std::optional<at::Tensor>& num_rows) {
  check_apply(features_, offsets_, columns_, weights_, t_offsets, num_rows);
  const at::Tensor features = as_computed(features_);
  const at::Tensor offsets = offsets_.contiguous(), columns = columns_.contiguous();
  const at::Tensor weights = weights_.contiguous();
  const Csr csr = weighted_csr(offsets, columns, weights, num_rows);
  at::Tensor out = empty({csr.rows, features.size(1)}, features.options());
  AT_DISPATCH_FLOATING_TYPES(features.scalar_type(), "transition", [&] {
    cpu::csr_reduce(features.const_data_ptr<scalar_t>(), features.size(1), csr, false,
                    out.mutable_data_ptr<scalar_t>());
  });
  return out.to(features_.scalar_type());
}

at::Tensor transition_by_points_cpu(const at::Tensor& features_, const at::Tensor& fine_inverse_,
                                    const at::Tensor& coarse_inverse,
                                    const at::Tensor& coarse_order,
                                    const at::Tensor& coarse_offsets,
                                    const std::optional<at::Tensor>& num_rows) {
  check_by_points(features_, fine_inverse_, coarse_inverse, coarse_order, coarse_offsets, num_rows);
  const at::Tensor features = as_computed(features_);
  const at::Tensor fine_inverse = fine_inverse_.contiguous(), order = coarse_order.contiguous();
  const at::Tensor offsets = coarse_offsets.contiguous();
  Csr csr = as_csr(order, offsets, num_rows_data(num_rows));
  csr.via = fine_inverse.const_data_ptr<int32_t>();
  at::Tensor out = empty({csr.rows, features.size(1)}, features.options());
  AT_DISPATCH_FLOATING_TYPES(features.scalar_type(), "transition_by_points", [&] {
    cpu::csr_reduce(features.const_data_ptr<scalar_t>(), features.size(1), csr, true,
                    out.mutable_data_ptr<scalar_t>());
  });
  return out.to(features_.scalar_type());
}

#ifdef ELITE_WITH_CUDA

CsrPair build_transition_cuda(const at::Tensor& fine_inverse_, const at::Tensor& fine_order_,
                              const at::Tensor& fine_offsets, const at::Tensor& coarse_inverse_,
                              const at::Tensor& coarse_order_, const at::Tensor& coarse_offsets) {
  check_build(fine_inverse_, fine_order_, fine_offsets, coarse_inverse_, coarse_order_,
              coarse_offsets);
  const c10::cuda::CUDAGuard guard(fine_inverse_.device());
  const at::Tensor fine_inverse = fine_inverse_.contiguous(), fine_order = fine_order_.contiguous();
  const at::Tensor coarse_inverse = coarse_inverse_.contiguous();
  const at::Tensor coarse_order = coarse_order_.contiguous();
  CsrPair pair = allocate(fine_inverse, fine_offsets, coarse_offsets);
  auto& [offsets, columns, weights, t_offsets, t_columns, t_weights] = pair;
  const PointVoxels fine = point_voxels(fine_inverse, fine_order, fine_offsets);
  const PointVoxels coarse = point_voxels(coarse_inverse, coarse_order, coarse_offsets);
  const int64_t num_points = fine_inverse.size(0);
  const size_t bytes =
      cuda::build_transition_workspace_bytes(num_points, fine.num_voxels, coarse.num_voxels);
  at::Tensor workspace =
      empty({static_cast<int64_t>(bytes)}, fine_inverse.options().dtype(at::kByte));
  C10_CUDA_CHECK(cuda::build_transition(
      fine, coarse, num_points, workspace.mutable_data_ptr<uint8_t>(),
      output(offsets, columns, weights), output(t_offsets, t_columns, t_weights),
      c10::cuda::getCurrentCUDAStream()));
  return pair;
}

at::Tensor transition_cuda(const at::Tensor& features_, const at::Tensor& offsets_,
                           const at::Tensor& columns_, const at::Tensor& weights_,
                           const at::Tensor& t_offsets, const at::Tensor&, const at::Tensor&,
                           const std::optional<at::Tensor>& num_rows) {
  check_apply(features_, offsets_, columns_, weights_, t_offsets, num_rows);
  const c10::cuda::CUDAGuard guard(features_.device());
  const at::Tensor features = features_.contiguous(), offsets = offsets_.contiguous();
  const at::Tensor columns = columns_.contiguous(), weights = weights_.contiguous();
  const Csr csr = weighted_csr(offsets, columns, weights, num_rows);
  at::Tensor out = empty({csr.rows, features.size(1)}, features.options());
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, features.scalar_type(), "transition", [&] {
        C10_CUDA_CHECK(cuda::csr_reduce(cuda_data<scalar_t>(features), features.size(1), csr, false,
                                        cuda_mutable_data<scalar_t>(out),
                                        c10::cuda::getCurrentCUDAStream()));
      });
  return out;
}

at::Tensor transition_by_points_cuda(const at::Tensor& features_, const at::Tensor& fine_inverse_,
                                     const at::Tensor& coarse_inverse,
                                     const at::Tensor& coarse_order,
                                     const at::Tensor& coarse_offsets,
                                     const std::optional<at::Tensor>& num_rows) {
  check_by_points(features_, fine_inverse_, coarse_inverse, coarse_order, coarse_offsets, num_rows);
  const c10::cuda::CUDAGuard guard(features_.device());
  const at::Tensor features = features_.contiguous(), fine_inverse = fine_inverse_.contiguous();
  const at::Tensor order = coarse_order.contiguous(), offsets = coarse_offsets.contiguous();
  Csr csr = as_csr(order, offsets, num_rows_data(num_rows));
  csr.via = fine_inverse.const_data_ptr<int32_t>();
  at::Tensor out = empty({csr.rows, features.size(1)}, features.options());
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, features.scalar_type(), "transition_by_points", [&] {
        C10_CUDA_CHECK(cuda::csr_reduce(cuda_data<scalar_t>(features), features.size(1), csr, true,
                                        cuda_mutable_data<scalar_t>(out),
                                        c10::cuda::getCurrentCUDAStream()));
      });
  return out;
}

#endif

}  // namespace

TORCH_LIBRARY_FRAGMENT(elite_ops, m) {
  m.def(
      "build_transition(Tensor fine_inverse, Tensor fine_order, Tensor fine_offsets,"
      " Tensor coarse_inverse, Tensor coarse_order, Tensor coarse_offsets)"
      " -> (Tensor offsets, Tensor columns, Tensor weights, Tensor transposed_offsets,"
      " Tensor transposed_columns, Tensor transposed_weights)");
  m.def(
      "transition(Tensor features, Tensor offsets, Tensor columns, Tensor weights,"
      " Tensor transposed_offsets, Tensor transposed_columns, Tensor transposed_weights,"
      " Tensor? num_rows=None) -> Tensor");
  m.def(
      "transition_by_points(Tensor features, Tensor fine_inverse, Tensor coarse_inverse,"
      " Tensor coarse_order, Tensor coarse_offsets, Tensor? num_rows=None) -> Tensor");
}
TORCH_LIBRARY_IMPL(elite_ops, CPU, m) {
  m.impl("build_transition", &build_transition_cpu);
  m.impl("transition", &transition_cpu);
  m.impl("transition_by_points", &transition_by_points_cpu);
}
#ifdef ELITE_WITH_CUDA
TORCH_LIBRARY_IMPL(elite_ops, CUDA, m) {
  m.impl("build_transition", &build_transition_cuda);
  m.impl("transition", &transition_cuda);
  m.impl("transition_by_points", &transition_by_points_cuda);
}
#endif

}  // namespace elite_ops
