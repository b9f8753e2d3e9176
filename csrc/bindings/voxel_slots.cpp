#include "cpu/voxel_slots.h"

#include <limits>

#include "check.h"
#include "empty.h"
#include "grid.h"
#include "op.h"
#ifdef ELITE_WITH_CUDA
#include "cuda/voxel_slots.h"
#endif

namespace elite_ops {
namespace {

// Where points are in the slots of voxels: what both directions share.
struct Places {
  at::Tensor rows;    // [N]
  at::Tensor slots;   // [N]
  at::Tensor counts;  // [V]

  static Places check(const char* op, const at::Tensor& point_rows, const at::Tensor& point_slots,
                      const at::Tensor& counts, const char* with_name, const at::Tensor& with) {
    for (const auto& [name, t] :
         {std::pair("point_rows", point_rows), {"point_slots", point_slots}, {"counts", counts}}) {
      check_dim(op, name, t, 1);
      check_dtype(op, name, t, at::kInt);
      check_same_device(op, name, t, with_name, with);
      check_row_count(op, name, t.size(0));
    }
    check_size(op, "point_slots", point_slots, 0, point_rows.size(0));
    return {point_rows.contiguous(), point_slots.contiguous(), counts.contiguous()};
  }

  PointSlots in(int64_t max_points, int64_t channels) const {
    return {data<int32_t>(rows),
            data<int32_t>(slots),
            data<int32_t>(counts),
            rows.size(0),
            counts.size(0),
            max_points,
            channels};
  }
};

// Calls `body` with a number of as many bits as an element has.
template <typename Body>
void dispatch_words(const at::Tensor& t, const Body& body) {
  switch (t.element_size()) {
    case 2:
      return body(uint16_t());
    case 4:
      return body(uint32_t());
    default:
      return body(uint64_t());
  }
}

struct FillSlots {
  static constexpr auto kName = "fill_slots";

  at::Tensor features;
  Places places;
  int64_t max_points;

  static FillSlots check(const at::Tensor& features, const at::Tensor& point_rows,
                         const at::Tensor& point_slots, const at::Tensor& counts,
                         int64_t max_points) {
    check_dim(kName, "features", features, 2);
    check_floating(kName, "features", features);
    const Places places =
        Places::check(kName, point_rows, point_slots, counts, "features", features);
    check_size(kName, "features", features, 0, point_rows.size(0));
    TORCH_CHECK_VALUE(max_points >= 1 && max_points < std::numeric_limits<int32_t>::max(), kName,
                      ": `max_points` must be between 1 and 2^31 - 2, got ", max_points);
    const int64_t slots = saturating_product(counts.size(0), max_points);
    constexpr int64_t kMaxBytes = int64_t{1} << 46;
    TORCH_CHECK_VALUE(saturating_product(slots, features.size(1) * 8) < kMaxBytes, kName,
                      ": `max_points` of ", features.size(1), " channels in ", counts.size(0),
                      " voxels must fit in memory, got ", max_points);
    return {features.contiguous(), places, max_points};
  }

  at::Tensor run_cpu() const {
    at::Tensor out = allocate();
    dispatch_words(out, [&]<typename word_t>(word_t) {
      cpu::fill_slots(data<word_t>(features), slots(), mutable_data<word_t>(out));
    });
    return out;
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    at::Tensor out = allocate();
    dispatch_words(out, [&]<typename word_t>(word_t) {
      C10_CUDA_CHECK(cuda::fill_slots(data<word_t>(features), slots(), mutable_data<word_t>(out),
                                      c10::cuda::getCurrentCUDAStream()));
    });
    return out;
  }
#endif

 private:
  at::Tensor allocate() const {
    return empty_for(kName, "max_points", {places.counts.size(0), max_points, features.size(1)},
                     features.options());
  }
  PointSlots slots() const { return places.in(max_points, features.size(1)); }
};

struct TakeSlots {
  static constexpr auto kName = "take_slots";

  at::Tensor voxels;
  Places places;

  static TakeSlots check(const at::Tensor& voxels, const at::Tensor& point_rows,
                         const at::Tensor& point_slots, const at::Tensor& counts) {
    check_dim(kName, "voxels", voxels, 3);
    check_floating(kName, "voxels", voxels);
    const Places places = Places::check(kName, point_rows, point_slots, counts, "voxels", voxels);
    check_size(kName, "voxels", voxels, 0, counts.size(0));
    return {voxels.contiguous(), places};
  }

  at::Tensor run_cpu() const {
    at::Tensor out = allocate();
    dispatch_words(out, [&]<typename word_t>(word_t) {
      cpu::take_slots(data<word_t>(voxels), slots(), mutable_data<word_t>(out));
    });
    return out;
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    at::Tensor out = allocate();
    dispatch_words(out, [&]<typename word_t>(word_t) {
      C10_CUDA_CHECK(cuda::take_slots(data<word_t>(voxels), slots(), mutable_data<word_t>(out),
                                      c10::cuda::getCurrentCUDAStream()));
    });
    return out;
  }
#endif

 private:
  at::Tensor allocate() const {
    return empty({places.rows.size(0), voxels.size(2)}, voxels.options());
  }
  PointSlots slots() const { return places.in(voxels.size(1), voxels.size(2)); }
};

}  // namespace

ELITE_OP(FillSlots,
         "fill_slots(Tensor features, Tensor point_rows, Tensor point_slots, Tensor counts, "
         "SymInt max_points) -> Tensor");
ELITE_OP(TakeSlots,
         "take_slots(Tensor voxels, Tensor point_rows, Tensor point_slots, Tensor counts) -> "
         "Tensor");

}  // namespace elite_ops
