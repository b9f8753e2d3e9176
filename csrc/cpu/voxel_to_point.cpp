#include "voxel_to_point.h"

#include <algorithm>

#include "parallel.h"

namespace elite_ops::cpu {

template <typename scalar_t>
void voxel_to_point(const scalar_t* features, const int32_t* inverse, int64_t num_points,
                    int64_t num_voxels, int64_t channels, scalar_t* out) {
  parallel_for(0, num_points, 1024, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      scalar_t* row = out + i * channels;
      if (inverse[i] >= 0 && inverse[i] < num_voxels) {
        std::copy_n(features + inverse[i] * channels, channels, row);
      } else {
        std::fill_n(row, channels, scalar_t(0));
      }
    }
  });
}

template void voxel_to_point<float>(const float*, const int32_t*, int64_t, int64_t, int64_t,
                                    float*);
template void voxel_to_point<double>(const double*, const int32_t*, int64_t, int64_t, int64_t,
                                     double*);

}  // namespace elite_ops::cpu
