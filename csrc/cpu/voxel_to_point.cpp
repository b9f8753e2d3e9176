#include "voxel_to_point.h"

#include <algorithm>

#include "parallel.h"
#include "prefetch.h"

namespace elite_ops::cpu {

template <typename scalar_t>
void voxel_to_point(const scalar_t* features, const int32_t* inverse, int64_t num_points,
                    int64_t num_voxels, int64_t channels, scalar_t* out) {
  const auto has_voxel = [&](int64_t i) { return inverse[i] >= 0 && inverse[i] < num_voxels; };
  parallel_for(0, num_points, 1024, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t ahead = i + kPrefetchDistance;
      if (ahead < end && has_voxel(ahead)) {
        prefetch_row(features + inverse[ahead] * channels, channels);
      }
      scalar_t* row = out + i * channels;
      if (has_voxel(i)) {
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
