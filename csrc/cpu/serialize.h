// Codes of voxels along a space-filling curve.
#pragma once

#include <cstdint>

#include "common/space_curve.h"

namespace elite_ops::cpu {

// The first row without a code; num_voxels if there is none.
int64_t first_without_code(const int32_t* indices, int64_t num_voxels, const CurveArguments& curve);

// codes [V] of indices [V, 4], batch x y z: the number of the sample, above 3 depth bits of the
// cell.
//
// 24 bytes a voxel; with Hilbert's curve some 20 operations of 32 bits for each bit of depth, which
// decide: at a depth of 16, and 4 voxels to an instruction, 75 instructions a voxel.
void serialize(const int32_t* indices, int64_t num_voxels, const CurveArguments& curve,
               int64_t* codes);

}  // namespace elite_ops::cpu
