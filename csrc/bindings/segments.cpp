#include "cpu/segments.h"

#include <ATen/ops/full_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/unique_dim.h>

#include <optional>
#include <tuple>
#include <vector>

#include "common/segments.h"
#include "cpu/intersect_segments.h"
#include "cpu/parallel.h"
#include "empty.h"
#include "op.h"
#include "segments.h"
#ifdef ELITE_WITH_CUDA
#include "cuda/segments.h"
#endif

namespace elite_ops {
namespace {

// Lists of points by segment, as many as one call takes.
struct BuildSegments {
  static constexpr auto kName = "build_segments";
  using Result = std::tuple<at::Tensor, at::Tensor>;

  std::vector<at::Tensor> inverse;
  std::vector<SegmentInput> inputs;         // how the kernels get them
  int64_t num_points = 0, num_offsets = 0;  // of all lists

  static BuildSegments check(at::TensorList inverse, c10::IntArrayRef num_segments) {
    TORCH_CHECK_VALUE(!inverse.empty() && inverse.size() <= kMaxSegmentLists, kName,
                      ": `inverse` must hold between 1 and ", kMaxSegmentLists, " lists, got ",
                      inverse.size());
    TORCH_CHECK_VALUE(inverse.size() == num_segments.size(), kName,
                      ": `num_segments` must have one entry for each list, got ",
                      num_segments.size(), " for ", inverse.size());
    BuildSegments op;
    for (size_t l = 0; l < inverse.size(); ++l) op.add(inverse[l], num_segments[l]);
    check_row_count(kName, "inverse", op.num_points);
    TORCH_CHECK_VALUE(op.num_offsets < std::numeric_limits<int32_t>::max(), kName,
                      ": `num_segments` must be fewer than 2^31 - 1 together, got ", num_segments);
    return op;
  }

  Result run_cpu() const {
    auto [order, offsets] = allocate();
    const auto num_lists = static_cast<int64_t>(inputs.size());
    std::vector<int32_t*> orders{mutable_data<int32_t>(order)};
    std::vector<int32_t*> all_offsets{mutable_data<int32_t>(offsets)};
    for (const SegmentInput& input : inputs) {
      orders.push_back(orders.back() + input.num_points);
      all_offsets.push_back(all_offsets.back() + input.num_segments + 1);
    }
    std::vector<int64_t> bad(num_lists);
    cpu::parallel_for(0, num_lists, 1, [&](int64_t begin, int64_t end) {
      for (int64_t l = begin; l < end; ++l) {
        const SegmentInput& input = inputs[l];
        bad[l] = cpu::build_segments(input.inverse, input.num_points, input.num_segments, orders[l],
                                     all_offsets[l]);
      }
    });
    for (int64_t l = 0; l < num_lists; ++l) {
      const SegmentInput& input = inputs[l];
      TORCH_CHECK_INDEX(bad[l] < 0, kName, ": `inverse` must be in [-1, ", input.num_segments,
                        "), got ", input.inverse[bad[l]], " for point ", bad[l]);
    }
    return {order, offsets};
  }

#ifdef ELITE_WITH_CUDA
  Result run_cuda() const {
    auto [order, offsets] = allocate();
    const size_t bytes = cuda::build_segments_workspace_bytes(num_points);
    at::Tensor workspace = empty({static_cast<int64_t>(bytes)}, order.options().dtype(at::kByte));
    C10_CUDA_CHECK(cuda::build_segments(
        inputs.data(), static_cast<int>(inputs.size()), workspace.mutable_data_ptr(),
        mutable_data<int32_t>(order), mutable_data<int32_t>(offsets),
        device_error_flag(ErrorSource::kBuildSegments), c10::cuda::getCurrentCUDAStream()));
    return {order, offsets};
  }
#endif

 private:
  void add(const at::Tensor& list, int64_t num_segments) {
    check_dim(kName, "inverse", list, 1);
    check_dtype(kName, "inverse", list, at::kInt);
    check_row_count(kName, "inverse", list.size(0));
    TORCH_CHECK_VALUE(num_segments >= 0 && num_segments < std::numeric_limits<int32_t>::max(),
                      kName, ": `num_segments` must be in [0, 2^31 - 1), got ", num_segments);
    inverse.push_back(list.contiguous());
    check_same_device(kName, "inverse", inverse.back(), "inverse", inverse[0]);
    inputs.push_back({data<int32_t>(inverse.back()), list.size(0), num_segments});
    num_points += list.size(0);
    num_offsets += num_segments + 1;
  }

  Result allocate() const {
    return {empty({num_points}, inverse[0].options()),
            empty_for(kName, "num_segments", {num_offsets}, inverse[0].options())};
  }
};

// Segments of neighbouring points.
struct SegmentsFromCsr {
  static constexpr auto kName = "segments_from_csr";
  using Result = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

  at::Tensor csr_offsets;  // [M + 1] int64
  int64_t num_points;

  static SegmentsFromCsr check(const at::Tensor& offsets, std::optional<int64_t> num_points) {
    check_dim(kName, "offsets", offsets, 1);
    const auto dtype = offsets.scalar_type();
    TORCH_CHECK_TYPE(dtype == at::kInt || dtype == at::kLong, kName,
                     ": `offsets` must be int32 or int64, got ", dtype);
    TORCH_CHECK_VALUE(offsets.size(0) > 0, kName,
                      ": `offsets` must have num_segments + 1 entries, got none");
    check_row_count(kName, "offsets", offsets.size(0));
    const int64_t points = num_points ? *num_points : offsets[-1].item<int64_t>();
    TORCH_CHECK_VALUE(points >= 0, kName, num_points ? ": `num_points`" : ": the last of `offsets`",
                      " must not be negative, got ", points);
    check_row_count(kName, num_points ? "num_points" : "offsets", points);
    return {offsets.to(at::kLong).contiguous(), points};
  }

  Result run_cpu() const {
    auto [inverse, order, offsets] = allocate();
    const auto* given = data<int64_t>(csr_offsets);
    const int64_t bad =
        cpu::segments_from_csr(given, num_points, num_segments(), mutable_data<int32_t>(inverse),
                               mutable_data<int32_t>(order), mutable_data<int32_t>(offsets));
    TORCH_CHECK_INDEX(bad < 0, kName, ": `offsets` must rise from 0 to at most ", num_points,
                      ", got ", given[bad], " at ", bad);
    return {inverse, order, offsets};
  }

#ifdef ELITE_WITH_CUDA
  Result run_cuda() const {
    auto [inverse, order, offsets] = allocate();
    at::Tensor is_bad = empty({1}, order.options());
    C10_CUDA_CHECK(cuda::segments_from_csr(
        data<int64_t>(csr_offsets), num_points, num_segments(), mutable_data<int32_t>(is_bad),
        mutable_data<int32_t>(inverse), mutable_data<int32_t>(order),
        mutable_data<int32_t>(offsets), device_error_flag(ErrorSource::kSegmentsFromCsr),
        c10::cuda::getCurrentCUDAStream()));
    return {inverse, order, offsets};
  }
#endif

 private:
  int64_t num_segments() const { return csr_offsets.size(0) - 1; }

  Result allocate() const {
    const auto options = csr_offsets.options().dtype(at::kInt);
    return {empty_for(kName, "num_points", {num_points}, options),
            empty_for(kName, "num_points", {num_points}, options),
            empty(csr_offsets.sizes(), options)};
  }
};

struct IntersectSegments {
  static constexpr auto kName = "intersect_segments";
  using Result = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

  std::vector<at::Tensor> inverse;
  at::Tensor order, offsets;  // of the first

  static IntersectSegments check(at::TensorList inverse, const at::Tensor& order,
                                 const at::Tensor& offsets) {
    TORCH_CHECK_VALUE(!inverse.empty(), kName, ": `inverse` must hold one list or more, got none");
    IntersectSegments op{{}, order.contiguous(), offsets.contiguous()};
    for (const at::Tensor& each : inverse) {
      check_segments(kName, each, order, offsets, "segments[0]", inverse[0]);
      op.inverse.push_back(each.contiguous());
    }
    return op;
  }

  Result run_cpu() const {
    cpu::Groupings groupings{
        {}, data<int32_t>(order), data<int32_t>(offsets), offsets.size(0) - 1, order.size(0)};
    for (const at::Tensor& each : inverse) groupings.inverse.push_back(data<int32_t>(each));
    const cpu::SegmentIntersection found(groupings);
    const auto num_groupings = static_cast<int64_t>(inverse.size());
    at::Tensor group = empty(order.sizes(), order.options());
    at::Tensor points = empty(order.sizes(), order.options());
    at::Tensor group_offsets = empty({found.num_groups() + 1}, order.options());
    at::Tensor segments = empty({num_groupings, found.num_groups()}, order.options());
    found.write({mutable_data<int32_t>(group), mutable_data<int32_t>(points),
                 mutable_data<int32_t>(group_offsets), mutable_data<int32_t>(segments)});
    return {group, points, group_offsets, segments};
  }

#ifdef ELITE_WITH_CUDA
  // Groups by torch's unique: their number takes a wait in any case.
  Result run_cuda() const {
    const at::Tensor of_points = at::stack(inverse);
    const at::Tensor inside = of_points.ge(0).all(0).nonzero().squeeze(1);
    const auto [segments, group, counts] = at::unique_dim(of_points.index_select(1, inside), 1,
                                                          /*sorted=*/true, /*return_inverse=*/true);
    const at::Tensor group_of = at::full_like(order, -1, at::MemoryFormat::Contiguous)
                                    .index_copy(0, inside, group.to(at::kInt));
    const auto [points, group_offsets] =
        BuildSegments::check({group_of}, {segments.size(1)}).run_cuda();
    return {group_of, points, group_offsets, segments.contiguous()};
  }
#endif
};

}  // namespace

ELITE_OP(BuildSegments,
         "build_segments(Tensor[] inverse, SymInt[] num_segments)"
         " -> (Tensor order, Tensor offsets)");
ELITE_OP(SegmentsFromCsr,
         "segments_from_csr(Tensor offsets, SymInt? num_points=None)"
         " -> (Tensor inverse, Tensor order, Tensor offsets)");
ELITE_OP(IntersectSegments,
         "intersect_segments(Tensor[] inverse, Tensor order, Tensor offsets)"
         " -> (Tensor inverse, Tensor order, Tensor offsets, Tensor segments)");

}  // namespace elite_ops
