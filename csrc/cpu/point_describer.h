// What describes the points of a voxel to an encoder (common/voxel_encoder.h).
#pragma once

#include <algorithm>

#include "common/voxel_encoder.h"
#include "prefetch.h"

namespace elite_ops::cpu {

template <typename T>
class PointDescriber {
 public:
  // `last_entry`: entries from there on will not be asked for.
  PointDescriber(const VoxelPoints& voxels, int32_t last_entry)
      : voxels_(voxels), last_entry_(last_entry) {}

  // Goes to a voxel with points: finds their mean, and its lower corner.
  void enter(int64_t v) {
    const int32_t first = voxels_.voxels.offsets[v], last = voxels_.voxels.offsets[v + 1];
    for (int axis = 0; axis < 3; ++axis) {
      T sum = 0;
      for (int32_t e = first; e < last; ++e) sum += voxels_.point(e)[axis];
      origins_[axis] = sum / static_cast<T>(last - first);
      origins_[3 + axis] = voxels_.corner(v, axis);
    }
  }

  // Writes the num_features() numbers of one of the voxel's points.
  void describe(int32_t entry, T* features) const {
    if (entry + kAhead < last_entry_) prefetch_row(voxels_.point(entry + kAhead), voxels_.columns);
    const float* point = voxels_.point(entry);
    std::copy_n(point, voxels_.columns, features);
    for (int i = 0; i < 6; ++i) features[voxels_.columns + i] = point[i % 3] - origins_[i];
  }

 private:
  static constexpr int32_t kAhead = 16;  // points between a request and its use

  const VoxelPoints& voxels_;
  int32_t last_entry_;
  T origins_[6] = {};
};

}  // namespace elite_ops::cpu
