// Axis-aligned boxes and their overlap, equal to the bit on the CPU and on CUDA.
#pragma once

#include "common/rounded.h"

namespace elite_ops {

template <typename scalar_t>
struct Box {
  scalar_t x1, y1, x2, y2;

  ELITE_HOST_DEVICE scalar_t area() const { return rounded_mul(x2 - x1, y2 - y1); }
};

// Intersection over union of two boxes, given their areas. Of two boxes without area it is 0 / 0,
// which exceeds no threshold.
template <typename scalar_t>
ELITE_HOST_DEVICE scalar_t iou(const Box<scalar_t>& a, scalar_t area_a, const Box<scalar_t>& b,
                               scalar_t area_b) {
  const scalar_t width = (a.x2 < b.x2 ? a.x2 : b.x2) - (a.x1 > b.x1 ? a.x1 : b.x1);
  const scalar_t height = (a.y2 < b.y2 ? a.y2 : b.y2) - (a.y1 > b.y1 ? a.y1 : b.y1);
  const scalar_t intersection =
      rounded_mul(width > 0 ? width : scalar_t(0), height > 0 ? height : scalar_t(0));
  return rounded_div(intersection, area_a + area_b - intersection);
}

}  // namespace elite_ops
