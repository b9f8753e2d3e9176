#include "cpu/majority_vote.h"

#include "empty.h"
#include "op.h"
#include "segments.h"
#ifdef ELITE_WITH_CUDA
#include "cuda/majority_vote.h"
#endif

namespace elite_ops {
namespace {

struct MajorityVote {
  static constexpr auto kName = "majority_vote";

  at::Tensor labels;  // [N]
  SegmentTensors segments;
  int64_t num_classes, ignore_label;

  static MajorityVote check(const at::Tensor& labels, const at::Tensor& inverse,
                            const at::Tensor& order, const at::Tensor& offsets, int64_t num_classes,
                            int64_t ignore_label) {
    check_dim(kName, "labels", labels, 1);
    check_dtype(kName, "labels", labels, at::kLong);
    auto segments = SegmentTensors::check(kName, inverse, order, offsets, "labels", labels);
    check_size(kName, "labels", labels, 0, inverse.size(0));
    TORCH_CHECK_VALUE(num_classes > 0 && num_classes <= std::numeric_limits<int32_t>::max(), kName,
                      ": `num_classes` must be in [1, 2^31), got ", num_classes);
    return {labels.contiguous(), std::move(segments), num_classes, ignore_label};
  }

  at::Tensor run_cpu() const {
    at::Tensor out = empty({segments.num_segments()}, labels.options());
    const auto* label_of = data<int64_t>(labels);
    const int64_t bad = cpu::majority_vote(label_of, segments.csr(), num_classes, ignore_label,
                                           mutable_data<int64_t>(out));
    TORCH_CHECK_INDEX(bad < 0, kName, ": `labels` must be in [0, ", num_classes, "), got ",
                      label_of[bad], " for point ", bad);
    return out;
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    at::Tensor out = empty({segments.num_segments()}, labels.options());
    C10_CUDA_CHECK(cuda::majority_vote(data<int64_t>(labels), segments.csr(), num_classes,
                                       ignore_label, mutable_data<int64_t>(out),
                                       device_error_flag(ErrorSource::kMajorityVote),
                                       c10::cuda::getCurrentCUDAStream()));
    return out;
  }
#endif
};

}  // namespace

ELITE_OP(MajorityVote,
         "majority_vote(Tensor labels, Tensor inverse, Tensor order, Tensor offsets,"
         " int num_classes, int ignore_label) -> Tensor");

}  // namespace elite_ops
