// The sparse operator "gather to the points, then mean per coarse voxel" between two scales.
#pragma once

#include <cstdint>

#include "common/transition.h"

namespace elite_ops::cpu {

// `forward` has a row per coarse voxel and an entry per fine voxel that shares points with it,
// weighted by the shared part of the coarse voxel's points; `transposed` has the same entries in a
// row per fine voxel. Columns rise within a row. Points without a voxel in either scale don't
// count.
void build_transition(const PointVoxels& fine, const PointVoxels& coarse, int64_t num_points,
                      const CsrOutput& forward, const CsrOutput& transposed);

}  // namespace elite_ops::cpu
