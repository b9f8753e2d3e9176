#include "cpu/nearest_rows.h"

#include "check.h"
#include "empty.h"
#include "op.h"
#ifdef ELITE_WITH_CUDA
#include "cuda/nearest_rows.h"
#endif

namespace elite_ops {
namespace {

struct NearestRows {
  static constexpr auto kName = "nearest_rows";

  at::Tensor queries;     // [Q, 3]
  at::Tensor candidates;  // [M, 3]

  static NearestRows check(const at::Tensor& queries, const at::Tensor& candidates) {
    check_points("queries", queries);
    check_points("candidates", candidates);
    TORCH_CHECK_VALUE(candidates.size(0) > 0, kName,
                      ": `candidates` must have at least one row, got shape ", candidates.sizes());
    check_same_device(kName, "candidates", candidates, "queries", queries);
    return {queries.contiguous(), candidates.contiguous()};
  }

  at::Tensor run_cpu() const {
    at::Tensor nearest = allocate();
    cpu::nearest_rows(data<float>(queries), queries.size(0), data<float>(candidates),
                      candidates.size(0), mutable_data<int64_t>(nearest));
    return nearest;
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    at::Tensor nearest = allocate();
    C10_CUDA_CHECK(cuda::nearest_rows(
        data<float>(queries), queries.size(0), data<float>(candidates), candidates.size(0),
        mutable_data<int64_t>(nearest), c10::cuda::getCurrentCUDAStream()));
    return nearest;
  }
#endif

 private:
  static void check_points(const char* name, const at::Tensor& points) {
    check_dim(kName, name, points, 2);
    check_size(kName, name, points, 1, 3);
    check_dtype(kName, name, points, at::kFloat);
    check_row_count(kName, name, points.size(0));
  }

  at::Tensor allocate() const {
    return empty({queries.size(0)}, queries.options().dtype(at::kLong));
  }
};

}  // namespace

ELITE_OP(NearestRows, "nearest_rows(Tensor queries, Tensor candidates) -> Tensor");

}  // namespace elite_ops
