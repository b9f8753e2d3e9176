#include "cpu/majority_vote.h"

#include <torch/library.h>

#include "empty.h"
#include "segments.h"
#ifdef ELITE_WITH_CUDA
#include "cuda.h"
#include "cuda/majority_vote.h"
#endif

namespace elite_ops {
namespace {

constexpr const char* kOp = "majority_vote";

void check(const at::Tensor& labels, const at::Tensor& inverse, const at::Tensor& order,
           const at::Tensor& offsets, int64_t num_classes) {
  check_dim(kOp, "labels", labels, 1);
  check_dtype(kOp, "labels", labels, at::kLong);
  check_segments(kOp, inverse, order, offsets, "labels", labels);
  check_size(kOp, "labels", labels, 0, inverse.size(0));
  TORCH_CHECK_VALUE(num_classes > 0 && num_classes <= std::numeric_limits<int32_t>::max(), kOp,
                    ": `num_classes` must be in [1, 2^31), got ", num_classes);
}

at::Tensor majority_vote_cpu(const at::Tensor& labels_, const at::Tensor& inverse,
                             const at::Tensor& order_, const at::Tensor& offsets_,
                             int64_t num_classes, int64_t ignore_label) {
  check(labels_, inverse, order_, offsets_, num_classes);
  const at::Tensor labels = labels_.contiguous();
  const at::Tensor order = order_.contiguous(), offsets = offsets_.contiguous();
  const Csr segments = as_csr(order, offsets);
  at::Tensor out = empty({segments.rows}, labels.options());
  const int64_t* data = labels.const_data_ptr<int64_t>();
  const int64_t bad = cpu::majority_vote(data, segments, num_classes, ignore_label,
                                         out.mutable_data_ptr<int64_t>());
  TORCH_CHECK_INDEX(bad < 0, kOp, ": `labels` must be in [0, ", num_classes, "), got ", data[bad],
                    " for point ", bad);
  return out;
}

#ifdef ELITE_WITH_CUDA

at::Tensor majority_vote_cuda(const at::Tensor& labels_, const at::Tensor& inverse,
                              const at::Tensor& order_, const at::Tensor& offsets_,
                              int64_t num_classes, int64_t ignore_label) {
  check(labels_, inverse, order_, offsets_, num_classes);
  const c10::cuda::CUDAGuard guard(labels_.device());
  const at::Tensor labels = labels_.contiguous();
  const at::Tensor order = order_.contiguous(), offsets = offsets_.contiguous();
  const Csr segments = as_csr(order, offsets);
  at::Tensor out = empty({segments.rows}, labels.options());
  C10_CUDA_CHECK(cuda::majority_vote(labels.const_data_ptr<int64_t>(), segments, num_classes,
                                     ignore_label, out.mutable_data_ptr<int64_t>(),
                                     device_error_flag(ErrorSource::kMajorityVote),
                                     c10::cuda::getCurrentCUDAStream()));
  return out;
}

#endif

}  // namespace

TORCH_LIBRARY_FRAGMENT(elite_ops, m) {
  m.def(
      "majority_vote(Tensor labels, Tensor inverse, Tensor order, Tensor offsets, int num_classes,"
      " int ignore_label) -> Tensor");
}
TORCH_LIBRARY_IMPL(elite_ops, CPU, m) { m.impl("majority_vote", &majority_vote_cpu); }
#ifdef ELITE_WITH_CUDA
TORCH_LIBRARY_IMPL(elite_ops, CUDA, m) { m.impl("majority_vote", &majority_vote_cuda); }
#endif

}  // namespace elite_ops
