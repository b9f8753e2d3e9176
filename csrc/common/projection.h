// A pinhole camera: one point to one pixel, in the same order of roundings on every device.
#pragma once

#include <cstdint>

#include "common/rounded.h"

namespace elite_ops {

struct Pixel {
  int32_t row, col;
};

constexpr Pixel kNoPixel{-1, -1};

// ((m0 x + m1 y) + m2 z) + m3
ELITE_HOST_DEVICE inline float homogeneous_dot(const float* m, float x, float y, float z) {
  const float xy = rounded_add(rounded_mul(m[0], x), rounded_mul(m[1], y));
  return rounded_add(rounded_add(xy, rounded_mul(m[2], z)), m[3]);
}

// Where the 3 x 4 `projection` (row-major) shows a point of the sensor frame; kNoPixel unless the
// point lies before the sensor and the camera, and strictly inside the image. Sizes are at most
// 2^24, so that they are exact as floats. NaN fails every comparison.
ELITE_HOST_DEVICE inline Pixel project_point(const float* projection, float x, float y, float z,
                                             int32_t height, int32_t width) {
  const float depth = homogeneous_dot(projection + 8, x, y, z);
  if (!(x > 0.f && depth > 0.f)) return kNoPixel;
  const float u = rounded_div(homogeneous_dot(projection, x, y, z), depth);
  const float v = rounded_div(homogeneous_dot(projection + 4, x, y, z), depth);
  const bool inside =
      u > 0.f && u < static_cast<float>(width) && v > 0.f && v < static_cast<float>(height);
  return inside ? Pixel{static_cast<int32_t>(v), static_cast<int32_t>(u)} : kNoPixel;
}

}  // namespace elite_ops
