#pragma once

#include <cstdint>

namespace elite_ops::cpu {

// points [N, point_stride] (x y z first), projection [B, 3, 4], batch_index [N] in [0, B) or null
// when every point belongs to the first matrix; pixel [N, 2] (row, col), valid [N].
void project_points(const float* points, int64_t num_points, int64_t point_stride,
                    const float* projection, const int64_t* batch_index, int32_t height,
                    int32_t width, int32_t* pixel, bool* valid);

}  // namespace elite_ops::cpu
