#pragma once

#include <cstdint>

#include "common/patch_map.h"

namespace elite_ops::cpu {

// The first point whose pixel lies outside its image, or -1.
int64_t first_outside(const int32_t* pixel, const int64_t* batch_index, int64_t num_points,
                      const PatchMap& map);

// patches as `map` says, pixel [P, 2] (row, col), batch_index [P], all inside; out [P, C], and
// cell [P]: the number (b * h + row) * w + col of the lower cell of each point's stencil.
template <typename scalar_t>
void patch_to_point(const scalar_t* patches, const PatchMap& map, const int32_t* pixel,
                    const int64_t* batch_index, int64_t num_points, scalar_t* out, int32_t* cell);

// grad_out [P, C]; order [P] and offsets [B * h * w + 1]: the points by cell; grad_patches as `map`
// says.
template <typename scalar_t>
void patch_to_point_backward(const scalar_t* grad_out, const int32_t* pixel, const int32_t* order,
                             const int32_t* offsets, const PatchMap& map, scalar_t* grad_patches);

}  // namespace elite_ops::cpu
