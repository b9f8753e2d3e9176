#include "cpu/nms.h"

#include <algorithm>

#include "check.h"
#include "compute_type.h"
#include "empty.h"
#include "op.h"
#ifdef ELITE_WITH_CUDA
#include "cuda/nms.h"
#endif

namespace elite_ops {
namespace {

template <typename T>
void check_no_nan(const char* op, const char* name, const at::Tensor& t) {
  const T* begin = data<T>(t);
  const T* end = begin + t.numel();
  const T* nan = std::find_if(begin, end, [](T value) { return value != value; });
  TORCH_CHECK_VALUE(nan == end, op, ": `", name, "` must not hold a NaN, got one in row ",
                    (nan - begin) / (t.numel() / t.size(0)));
}

struct Nms {
  static constexpr auto kName = "nms";

  at::Tensor boxes;   // [N, 4]
  at::Tensor scores;  // [N]
  double iou_threshold;

  static Nms check(const at::Tensor& boxes, const at::Tensor& scores, double iou_threshold) {
    check_dim(kName, "boxes", boxes, 2);
    check_dim(kName, "scores", scores, 1);
    check_size(kName, "boxes", boxes, 1, 4);
    check_size(kName, "scores", scores, 0, boxes.size(0));
    check_floating(kName, "boxes", boxes);
    check_dtype(kName, "scores", scores, boxes.scalar_type());
    check_same_device(kName, "scores", scores, "boxes", boxes);
    check_row_count(kName, "boxes", boxes.size(0));
    TORCH_CHECK_VALUE(iou_threshold >= 0 && iou_threshold <= 1, kName,
                      ": `iou_threshold` must lie in [0, 1], got ", iou_threshold);
    return {boxes.contiguous(), scores.contiguous(), iou_threshold};
  }

  at::Tensor run_cpu() const {
    const at::Tensor computed_boxes = as_computed(boxes), computed_scores = as_computed(scores);
    at::Tensor kept = allocate();
    return dispatch_cpu(boxes.scalar_type(), [&](auto number) {
      using T = decltype(number);
      check_no_nan<T>(kName, "boxes", computed_boxes);
      check_no_nan<T>(kName, "scores", computed_scores);
      return first(kept, cpu::nms(data<T>(computed_boxes), data<T>(computed_scores), boxes.size(0),
                                  iou_threshold, mutable_data<int64_t>(kept)));
    });
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    const int64_t num_boxes = boxes.size(0);
    at::Tensor kept = allocate();
    if (num_boxes == 0) return kept;
    at::Tensor num_kept = empty({}, kept.options());
    dispatch_cuda(boxes.scalar_type(), [&](auto number) {
      using T = decltype(number);
      const auto bytes = static_cast<int64_t>(cuda::nms_workspace_bytes<T>(num_boxes));
      at::Tensor workspace = empty({bytes}, kept.options().dtype(at::kByte));
      C10_CUDA_CHECK(cuda::nms(data<T>(boxes), data<T>(scores), num_boxes, iou_threshold,
                               workspace.mutable_data_ptr(), mutable_data<int64_t>(kept),
                               mutable_data<int64_t>(num_kept), c10::cuda::getCurrentCUDAStream()));
    });
    return first(kept, num_kept.item<int64_t>());
  }
#endif

 private:
  at::Tensor allocate() const { return empty({boxes.size(0)}, boxes.options().dtype(at::kLong)); }

  static at::Tensor first(const at::Tensor& kept, int64_t count) {
    return kept.narrow(0, 0, count).clone();
  }
};

}  // namespace

ELITE_OP(Nms, "nms(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor");

}  // namespace elite_ops
