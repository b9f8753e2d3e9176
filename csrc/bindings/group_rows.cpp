#include "cpu/group_rows.h"

#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <tuple>

#include "check.h"
#include "empty.h"
#include "kernel_shape.h"
#ifdef ELITE_WITH_CUDA
#include "cuda.h"
#include "cuda/group_rows.h"
#endif

namespace elite_ops {
namespace {

constexpr auto kOp = "group_rows";

RowGroups check(const at::Tensor& neighbors, c10::IntArrayRef kernel_size) {
  check_dim(kOp, "neighbors", neighbors, 2);
  check_dtype(kOp, "neighbors", neighbors, at::kInt);
  check_row_count(kOp, "neighbors", neighbors.size(1));
  const KernelShape kernel = checked_kernel_shape(kOp, kernel_size, {1, 1, 1});
  check_size(kOp, "neighbors", neighbors, 0, kernel.num_offsets());
  return {kernel.num_offsets(), kernel.size[2]};
}

std::tuple<at::Tensor, at::Tensor> group_rows_cpu(const at::Tensor& neighbors_,
                                                  c10::IntArrayRef kernel_size) {
  const RowGroups groups = check(neighbors_, kernel_size);
  const at::Tensor neighbors = neighbors_.contiguous();
  at::Tensor order = empty({neighbors.size(1)}, neighbors.options());
  at::Tensor grouped = at::empty_like(neighbors);
  cpu::group_rows(groups, neighbors.const_data_ptr<int32_t>(), neighbors.size(1),
                  order.mutable_data_ptr<int32_t>(), grouped.mutable_data_ptr<int32_t>());
  return {order, grouped};
}

#ifdef ELITE_WITH_CUDA
std::tuple<at::Tensor, at::Tensor> group_rows_cuda(const at::Tensor& neighbors_,
                                                   c10::IntArrayRef kernel_size) {
  const RowGroups groups = check(neighbors_, kernel_size);
  const c10::cuda::CUDAGuard guard(neighbors_.device());
  const at::Tensor neighbors = neighbors_.contiguous();
  at::Tensor order = empty({neighbors.size(1)}, neighbors.options());
  at::Tensor grouped = at::empty_like(neighbors);
  const auto bytes = static_cast<int64_t>(cuda::group_rows_workspace_bytes(neighbors.size(1)));
  at::Tensor workspace = empty({bytes}, neighbors.options().dtype(at::kByte));
  C10_CUDA_CHECK(cuda::group_rows(groups, neighbors.const_data_ptr<int32_t>(), neighbors.size(1),
                                  workspace.mutable_data_ptr(), order.mutable_data_ptr<int32_t>(),
                                  grouped.mutable_data_ptr<int32_t>(),
                                  c10::cuda::getCurrentCUDAStream()));
  return {order, grouped};
}
#endif

}  // namespace

TORCH_LIBRARY_FRAGMENT(elite_ops, m) {
  m.def("group_rows(Tensor neighbors, int[] kernel_size) -> (Tensor order, Tensor grouped)");
}
TORCH_LIBRARY_IMPL(elite_ops, CPU, m) { m.impl("group_rows", &group_rows_cpu); }
#ifdef ELITE_WITH_CUDA
TORCH_LIBRARY_IMPL(elite_ops, CUDA, m) { m.impl("group_rows", &group_rows_cuda); }
#endif

}  // namespace elite_ops
