#include "cpu/segments.h"

#include <ATen/ops/full_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/unique_dim.h>
#include <torch/library.h>

#include <tuple>
#include <vector>

#include "check.h"
#include "common/segments.h"
#include "cpu/intersect_segments.h"
#include "cpu/parallel.h"
#include "empty.h"
#include "segments.h"
#ifdef ELITE_WITH_CUDA
#include "cuda.h"
#include "cuda/segments.h"
#endif

namespace elite_ops {
namespace {

constexpr const char* kOp = "build_segments";
constexpr const char* kIntersect = "intersect_segments";

// The lists of one call, contiguous, and how the kernels get them.
struct Lists {
  std::vector<at::Tensor> inverse;
  std::vector<SegmentInput> inputs;
  int64_t num_points = 0, num_offsets = 0;  // of all lists

  Lists(at::TensorList inverse_, c10::IntArrayRef num_segments) {
    TORCH_CHECK_VALUE(!inverse_.empty() && inverse_.size() <= kMaxSegmentLists, kOp,
                      ": `inverse` must hold between 1 and ", kMaxSegmentLists, " lists, got ",
                      inverse_.size());
    TORCH_CHECK_VALUE(inverse_.size() == num_segments.size(), kOp,
                      ": `num_segments` must have one entry for each list, got ",
                      num_segments.size(), " for ", inverse_.size());
    for (size_t l = 0; l < inverse_.size(); ++l) add(inverse_[l], num_segments[l]);
    check_row_count(kOp, "inverse", num_points);
    TORCH_CHECK_VALUE(num_offsets < std::numeric_limits<int32_t>::max(), kOp,
                      ": `num_segments` must be fewer than 2^31 - 1 together, got ", num_segments);
  }

  at::TensorOptions options() const { return inverse[0].options(); }

 private:
  void add(const at::Tensor& list, int64_t num_segments) {
    check_dim(kOp, "inverse", list, 1);
    check_dtype(kOp, "inverse", list, at::kInt);
    check_row_count(kOp, "inverse", list.size(0));
    TORCH_CHECK_VALUE(num_segments >= 0 && num_segments < std::numeric_limits<int32_t>::max(), kOp,
                      ": `num_segments` must be in [0, 2^31 - 1), got ", num_segments);
    inverse.push_back(list.contiguous());
    check_same_device(kOp, "inverse", inverse.back(), "inverse", inverse[0]);
    inputs.push_back({inverse.back().const_data_ptr<int32_t>(), list.size(0), num_segments});
    num_points += list.size(0);
    num_offsets += num_segments + 1;
  }
};

std::tuple<at::Tensor, at::Tensor> build_segments_cpu(at::TensorList inverse,
                                                      c10::IntArrayRef num_segments) {
  const Lists lists(inverse, num_segments);
  at::Tensor order = empty({lists.num_points}, lists.options());
  at::Tensor offsets = empty({lists.num_offsets}, lists.options());
  const auto num_lists = static_cast<int64_t>(lists.inputs.size());
  std::vector<int32_t*> orders{order.mutable_data_ptr<int32_t>()};
  std::vector<int32_t*> all_offsets{offsets.mutable_data_ptr<int32_t>()};
  for (const SegmentInput& input : lists.inputs) {
    orders.push_back(orders.back() + input.num_points);
    all_offsets.push_back(all_offsets.back() + input.num_segments + 1);
  }
  std::vector<int64_t> bad(num_lists);
  cpu::parallel_for(0, num_lists, 1, [&](int64_t begin, int64_t end) {
    for (int64_t l = begin; l < end; ++l) {
      const SegmentInput& input = lists.inputs[l];
      bad[l] = cpu::build_segments(input.inverse, input.num_points, input.num_segments, orders[l],
                                   all_offsets[l]);
    }
  });
  for (int64_t l = 0; l < num_lists; ++l) {
    const SegmentInput& input = lists.inputs[l];
    TORCH_CHECK_INDEX(bad[l] < 0, kOp, ": `inverse` must be in [-1, ", input.num_segments,
                      "), got ", input.inverse[bad[l]], " for point ", bad[l]);
  }
  return {order, offsets};
}

#ifdef ELITE_WITH_CUDA

std::tuple<at::Tensor, at::Tensor> build_segments_cuda(at::TensorList inverse,
                                                       c10::IntArrayRef num_segments) {
  const Lists lists(inverse, num_segments);
  const c10::cuda::CUDAGuard guard(lists.inverse[0].device());
  at::Tensor order = empty({lists.num_points}, lists.options());
  at::Tensor offsets = empty({lists.num_offsets}, lists.options());
  const size_t bytes = cuda::build_segments_workspace_bytes(lists.num_points);
  at::Tensor workspace = empty({static_cast<int64_t>(bytes)}, lists.options().dtype(at::kByte));
  C10_CUDA_CHECK(cuda::build_segments(
      lists.inputs.data(), static_cast<int>(lists.inputs.size()),
      workspace.mutable_data_ptr<uint8_t>(), order.mutable_data_ptr<int32_t>(),
      offsets.mutable_data_ptr<int32_t>(), device_error_flag(ErrorSource::kBuildSegments),
      c10::cuda::getCurrentCUDAStream()));
  return {order, offsets};
}

#endif

// ---- intersect_segments

void check_groupings(at::TensorList inverse, const at::Tensor& order, const at::Tensor& offsets) {
  TORCH_CHECK_VALUE(!inverse.empty(), kIntersect,
                    ": `inverse` must hold one list or more, got none");
  for (const at::Tensor& each : inverse) {
    check_segments(kIntersect, each, order, offsets, "segments[0]", inverse[0]);
  }
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> intersect_segments_cpu(
    at::TensorList inverse_, const at::Tensor& order_, const at::Tensor& offsets_) {
  check_groupings(inverse_, order_, offsets_);
  const at::Tensor order = order_.contiguous(), offsets = offsets_.contiguous();
  std::vector<at::Tensor> inverse;
  cpu::Groupings groupings{{},
                           order.const_data_ptr<int32_t>(),
                           offsets.const_data_ptr<int32_t>(),
                           offsets.size(0) - 1,
                           order.size(0)};
  for (const at::Tensor& each : inverse_) {
    inverse.push_back(each.contiguous());
    groupings.inverse.push_back(inverse.back().const_data_ptr<int32_t>());
  }
  const cpu::SegmentIntersection found(groupings);
  const auto num_groupings = static_cast<int64_t>(inverse.size());
  at::Tensor group = empty(order.sizes(), order.options());
  at::Tensor points = empty(order.sizes(), order.options());
  at::Tensor group_offsets = empty({found.num_groups() + 1}, order.options());
  at::Tensor segments = empty({num_groupings, found.num_groups()}, order.options());
  found.write({group.mutable_data_ptr<int32_t>(), points.mutable_data_ptr<int32_t>(),
               group_offsets.mutable_data_ptr<int32_t>(), segments.mutable_data_ptr<int32_t>()});
  return {group, points, group_offsets, segments};
}

#ifdef ELITE_WITH_CUDA

// Groups by torch's unique: their number takes a wait in any case.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> intersect_segments_cuda(
    at::TensorList inverse, const at::Tensor& order, const at::Tensor& offsets) {
  check_groupings(inverse, order, offsets);
  const c10::cuda::CUDAGuard guard(order.device());
  const at::Tensor of_points = at::stack(inverse);
  const at::Tensor inside = of_points.ge(0).all(0).nonzero().squeeze(1);
  const auto [segments, group, counts] = at::unique_dim(of_points.index_select(1, inside), 1,
                                                        /*sorted=*/true, /*return_inverse=*/true);
  const at::Tensor group_of = at::full_like(order, -1, at::MemoryFormat::Contiguous)
                                  .index_copy(0, inside, group.to(at::kInt));
  const auto [points, group_offsets] = build_segments_cuda({group_of}, {segments.size(1)});
  return {group_of, points, group_offsets, segments.contiguous()};
}

#endif

}  // namespace

TORCH_LIBRARY_FRAGMENT(elite_ops, m) {
  m.def(
      "build_segments(Tensor[] inverse, SymInt[] num_segments) -> (Tensor order, Tensor offsets)");
  m.def(
      "intersect_segments(Tensor[] inverse, Tensor order, Tensor offsets)"
      " -> (Tensor inverse, Tensor order, Tensor offsets, Tensor segments)");
}
TORCH_LIBRARY_IMPL(elite_ops, CPU, m) {
  m.impl("build_segments", &build_segments_cpu);
  m.impl("intersect_segments", &intersect_segments_cpu);
}
#ifdef ELITE_WITH_CUDA
TORCH_LIBRARY_IMPL(elite_ops, CUDA, m) {
  m.impl("build_segments", &build_segments_cuda);
  m.impl("intersect_segments", &intersect_segments_cuda);
}
#endif

}  // namespace elite_ops
