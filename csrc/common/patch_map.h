// A map of patch features below an image, and the bilinear stencil that reads it at a pixel:
// torch's bilinear resize with align_corners=False, one output pixel at a time.
#pragma once

#include <cstdint>

#include "common/rounded.h"

namespace elite_ops {

// Sizes and strides (in elements) of patch features [B, C, h, w], and the image that they belong
// to.
struct PatchMap {
  int64_t batch, channels, height, width;
  int64_t batch_stride, channel_stride, row_stride, col_stride;
  int32_t image_height, image_width;

  // Where channel 0 of a cell lies.
  ELITE_HOST_DEVICE int64_t offset(int64_t image, int64_t row, int64_t col) const {
    return image * batch_stride + row * row_stride + col * col_stride;
  }
};

// The two cells of one axis that a pixel lies between. `upper` is `lower` at the far edge.
template <typename T>
struct Stencil {
  int32_t lower, upper;
  T lower_weight, upper_weight;

  // What the pixel takes from `cell` along this axis.
  ELITE_HOST_DEVICE T weight_of(int32_t cell) const {
    return (cell == lower ? lower_weight : T(0)) + (cell == upper ? upper_weight : T(0));
  }
};

// Rounded after every operation, so that forward and backward agree on the cell.
template <typename T>
ELITE_HOST_DEVICE inline Stencil<T> stencil(int32_t pixel, int64_t cells, int32_t pixels) {
  const T scale = rounded_div(static_cast<T>(cells), static_cast<T>(pixels));
  const T at = rounded_add(rounded_mul(scale, rounded_add(static_cast<T>(pixel), T(0.5))), T(-0.5));
  const T clamped = at > T(0) ? at : T(0);
  const int32_t last = static_cast<int32_t>(cells - 1);
  const int32_t lower = static_cast<int32_t>(clamped) < last ? static_cast<int32_t>(clamped) : last;
  const T upper_weight = clamped - static_cast<T>(lower);
  return {lower, lower < last ? lower + 1 : last, T(1) - upper_weight, upper_weight};
}

// A pixel's four cells, and how their values are blended.
template <typename T>
struct Taps {
  Stencil<T> rows, cols;
  // Of channel 0: (lower, lower), (lower, upper), (upper, lower), (upper, upper).
  int64_t offsets[4];
  int32_t cell;  // the number of the first, (image * height + row) * width + col

  ELITE_HOST_DEVICE Taps(const PatchMap& map, int64_t image, int32_t row, int32_t col)
      : rows(stencil<T>(row, map.height, map.image_height)),
        cols(stencil<T>(col, map.width, map.image_width)),
        offsets{
            map.offset(image, rows.lower, cols.lower), map.offset(image, rows.lower, cols.upper),
            map.offset(image, rows.upper, cols.lower), map.offset(image, rows.upper, cols.upper)},
        cell(static_cast<int32_t>((image * map.height + rows.lower) * map.width + cols.lower)) {}

  template <typename scalar_t>
  ELITE_HOST_DEVICE T blend(const scalar_t* channel) const {
    const T lower = cols.lower_weight * static_cast<T>(channel[offsets[0]]) +
                    cols.upper_weight * static_cast<T>(channel[offsets[1]]);
    const T upper = cols.lower_weight * static_cast<T>(channel[offsets[2]]) +
                    cols.upper_weight * static_cast<T>(channel[offsets[3]]);
    return rows.lower_weight * lower + rows.upper_weight * upper;
  }
};

// Whether the patch map has this pixel.
ELITE_HOST_DEVICE inline bool has_pixel(const PatchMap& map, int64_t image, int32_t row,
                                        int32_t col) {
  return image >= 0 && image < map.batch && row >= 0 && row < map.image_height && col >= 0 &&
         col < map.image_width;
}

}  // namespace elite_ops
