#include "cpu/project_points.h"

#include "common/projection.h"
#include "cpu/parallel.h"

namespace elite_ops::cpu {
namespace {

constexpr int64_t kGrainSize = 8192;  // points, tens of microseconds

}  // namespace

void project_points(const float* points, int64_t num_points, int64_t point_stride,
                    const float* projection, const int64_t* batch_index, int32_t height,
                    int32_t width, int32_t* pixel, bool* valid) {
  parallel_for(0, num_points, kGrainSize, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* p = points + i * point_stride;
      const float* matrix = projection + (batch_index != nullptr ? 12 * batch_index[i] : 0);
      const Pixel at = project_point(matrix, p[0], p[1], p[2], height, width);
      pixel[2 * i] = at.row;
      pixel[2 * i + 1] = at.col;
      valid[i] = at.row >= 0;
    }
  });
}

}  // namespace elite_ops::cpu
