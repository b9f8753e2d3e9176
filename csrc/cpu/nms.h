// Non-maximum suppression on the CPU.
#pragma once

#include <cstdint>

namespace elite_ops::cpu {

// boxes [N, 4] x1 y1 x2 y2, scores [N], without NaN. Writes the rows that are kept, by falling
// score, to kept [N], and returns how many.
template <typename scalar_t>
int64_t nms(const scalar_t* boxes, const scalar_t* scores, int64_t num_boxes, double iou_threshold,
            int64_t* kept);

}  // namespace elite_ops::cpu
