// What each input cell along an axis meets, looked up instead of divided.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/kernel_geometry.h"

namespace elite_ops::cpu {

// An output cell along an axis, and the offset under which an input cell meets it.
struct AxisMeeting {
  int32_t output;
  int32_t offset;
};

class AxisReach {
 public:
  AxisReach(const KernelGeometry& kernel, int axis, bool transposed, int32_t num_inputs,
            int32_t num_outputs)
      : kernel_(kernel), axis_(axis), transposed_(transposed), num_outputs_(num_outputs) {
    const int32_t stride = transposed ? 1 : kernel.stride[axis];
    width_ = std::min<int64_t>(kernel.size[axis], kernel.reach(axis) / stride + 1);
    if (num_inputs > kMaxCells) return;
    meetings_.resize(num_inputs * width_);
    for (int32_t input = 0; input < num_inputs; ++input) list(input, &meetings_[input * width_]);
  }

  // How many outputs an input cell can meet.
  int64_t width() const { return width_; }

  // `width` meetings of an input cell, some of them twice where it has fewer, so that loops over
  // them are predictable; null where it meets nothing. Uses `room` where there is no table.
  const AxisMeeting* of(int32_t input, AxisMeeting* room) const {
    const AxisMeeting* met = room;
    if (meetings_.empty()) {
      list(input, room);
    } else {
      met = &meetings_[input * width_];
    }
    return met->offset < 0 ? nullptr : met;
  }

 private:
  void list(int32_t input, AxisMeeting* to) const {
    AxisMeeting* const end = to + width_;
    AxisMeeting last{0, -1};
    for_each_output(kernel_, axis_, transposed_, input, num_outputs_,
                    [&](int32_t output, int32_t offset) { *to++ = last = {output, offset}; });
    std::fill(to, end, last);
  }

  static constexpr int32_t kMaxCells = 1 << 16;
  const KernelGeometry& kernel_;
  const int axis_;
  const bool transposed_;
  const int32_t num_outputs_;
  int64_t width_;
  std::vector<AxisMeeting> meetings_;  // [input cells, width]; empty where there are too many
};

}  // namespace elite_ops::cpu
