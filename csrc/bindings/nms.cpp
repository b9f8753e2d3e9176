#include "cpu/nms.h"

#include <ATen/Dispatch.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>

#include "check.h"
#include "compute_type.h"
#include "empty.h"
#ifdef ELITE_WITH_CUDA
#include "cuda.h"
#include "cuda/nms.h"
#endif

namespace elite_ops {
namespace {

constexpr auto kOp = "nms";

void check(const at::Tensor& boxes, const at::Tensor& scores, double iou_threshold) {
  check_dim(kOp, "boxes", boxes, 2);
  check_dim(kOp, "scores", scores, 1);
  check_size(kOp, "boxes", boxes, 1, 4);
  check_size(kOp, "scores", scores, 0, boxes.size(0));
  check_floating(kOp, "boxes", boxes);
  check_dtype(kOp, "scores", scores, boxes.scalar_type());
  check_same_device(kOp, "scores", scores, "boxes", boxes);
  check_row_count(kOp, "boxes", boxes.size(0));
  TORCH_CHECK_VALUE(iou_threshold >= 0 && iou_threshold <= 1, kOp,
                    ": `iou_threshold` must lie in [0, 1], got ", iou_threshold);
}

template <typename scalar_t>
void check_no_nan(const char* name, const at::Tensor& t) {
  const scalar_t* data = t.const_data_ptr<scalar_t>();
  const scalar_t* nan = std::find_if(data, data + t.numel(), [](scalar_t v) { return v != v; });
  TORCH_CHECK_VALUE(nan == data + t.numel(), kOp, ": `", name,
                    "` must not hold a NaN, got one in row ",
                    (nan - data) / (t.numel() / t.size(0)));
}

at::Tensor nms_cpu(const at::Tensor& boxes_, const at::Tensor& scores_, double iou_threshold) {
  check(boxes_, scores_, iou_threshold);
  const auto boxes = as_computed(boxes_), scores = as_computed(scores_);
  auto kept = empty({boxes.size(0)}, boxes.options().dtype(at::kLong));
  int64_t num_kept = 0;
  AT_DISPATCH_FLOATING_TYPES(boxes.scalar_type(), kOp, [&] {
    check_no_nan<scalar_t>("boxes", boxes);
    check_no_nan<scalar_t>("scores", scores);
    num_kept = cpu::nms(boxes.const_data_ptr<scalar_t>(), scores.const_data_ptr<scalar_t>(),
                        boxes.size(0), iou_threshold, kept.mutable_data_ptr<int64_t>());
  });
  return kept.narrow(0, 0, num_kept).clone();
}

#ifdef ELITE_WITH_CUDA

at::Tensor nms_cuda(const at::Tensor& boxes_, const at::Tensor& scores_, double iou_threshold) {
  check(boxes_, scores_, iou_threshold);
  const c10::cuda::CUDAGuard guard(boxes_.device());
  const auto boxes = boxes_.contiguous(), scores = scores_.contiguous();
  const int64_t num_boxes = boxes.size(0);
  auto kept = empty({num_boxes}, boxes.options().dtype(at::kLong));
  if (num_boxes == 0) return kept;
  auto num_kept = empty({}, kept.options());
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, boxes.scalar_type(), kOp, [&] {
    const size_t bytes = cuda::nms_workspace_bytes<cuda_scalar<scalar_t>>(num_boxes);
    auto workspace = empty({static_cast<int64_t>(bytes)}, kept.options().dtype(at::kByte));
    C10_CUDA_CHECK(cuda::nms(cuda_data<scalar_t>(boxes), cuda_data<scalar_t>(scores), num_boxes,
                             iou_threshold, workspace.mutable_data_ptr<uint8_t>(),
                             kept.mutable_data_ptr<int64_t>(), num_kept.mutable_data_ptr<int64_t>(),
                             c10::cuda::getCurrentCUDAStream()));
  });
  return kept.narrow(0, 0, num_kept.item<int64_t>()).clone();
}

#endif

}  // namespace

TORCH_LIBRARY_FRAGMENT(elite_ops, m) {
  m.def("nms(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor");
}

TORCH_LIBRARY_IMPL(elite_ops, CPU, m) { m.impl("nms", &nms_cpu); }

#ifdef ELITE_WITH_CUDA
TORCH_LIBRARY_IMPL(elite_ops, CUDA, m) { m.impl("nms", &nms_cuda); }
#endif

}  // namespace elite_ops
