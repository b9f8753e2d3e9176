#include "cpu/nearest_rows.h"

#include <torch/library.h>

#include "check.h"
#include "empty.h"
#ifdef ELITE_WITH_CUDA
#include "cuda.h"
#include "cuda/nearest_rows.h"
#endif

namespace elite_ops {
namespace {

constexpr auto kOp = "nearest_rows";

void check_points(const char* name, const at::Tensor& points) {
  check_dim(kOp, name, points, 2);
  check_size(kOp, name, points, 1, 3);
  check_dtype(kOp, name, points, at::kFloat);
  check_row_count(kOp, name, points.size(0));
}

void check(const at::Tensor& queries, const at::Tensor& candidates) {
  check_points("queries", queries);
  check_points("candidates", candidates);
  TORCH_CHECK_VALUE(candidates.size(0) > 0, kOp,
                    ": `candidates` must have at least one row, got shape ", candidates.sizes());
  check_same_device(kOp, "candidates", candidates, "queries", queries);
}

at::Tensor nearest_rows_cpu(const at::Tensor& queries_, const at::Tensor& candidates_) {
  check(queries_, candidates_);
  const auto queries = queries_.contiguous(), candidates = candidates_.contiguous();
  auto nearest = empty({queries.size(0)}, queries.options().dtype(at::kLong));
  cpu::nearest_rows(queries.const_data_ptr<float>(), queries.size(0),
                    candidates.const_data_ptr<float>(), candidates.size(0),
                    nearest.mutable_data_ptr<int64_t>());
  return nearest;
}

#ifdef ELITE_WITH_CUDA
at::Tensor nearest_rows_cuda(const at::Tensor& queries_, const at::Tensor& candidates_) {
  check(queries_, candidates_);
  const c10::cuda::CUDAGuard guard(queries_.device());
  const auto queries = queries_.contiguous(), candidates = candidates_.contiguous();
  auto nearest = empty({queries.size(0)}, queries.options().dtype(at::kLong));
  C10_CUDA_CHECK(cuda::nearest_rows(
      queries.const_data_ptr<float>(), queries.size(0), candidates.const_data_ptr<float>(),
      candidates.size(0), nearest.mutable_data_ptr<int64_t>(), c10::cuda::getCurrentCUDAStream()));
  return nearest;
}
#endif

}  // namespace

TORCH_LIBRARY_FRAGMENT(elite_ops, m) {
  m.def("nearest_rows(Tensor queries, Tensor candidates) -> Tensor");
}
TORCH_LIBRARY_IMPL(elite_ops, CPU, m) { m.impl("nearest_rows", &nearest_rows_cpu); }
#ifdef ELITE_WITH_CUDA
TORCH_LIBRARY_IMPL(elite_ops, CUDA, m) { m.impl("nearest_rows", &nearest_rows_cuda); }
#endif

}  // namespace elite_ops
