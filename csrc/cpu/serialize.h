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
// decide: 16 bits are 80 vector instructions a voxel without AVX, 100,000 voxels 1 ms.
void serialize(const int32_t* indices, int64_t num_voxels, const CurveArguments& curve,
               int64_t* codes);

}  // namespace elite_ops::cpu
