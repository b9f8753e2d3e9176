// Placing matrices in shared memory so that reading a column of 16-byte vectors meets no bank
// twice.
#pragma once

#include <cuda_runtime.h>

namespace elite_ops::cuda {

// Where vector `vector` of row `row` lies, counted in 16-byte vectors, in a matrix of kVectors
// vectors a row. Rows of up to 128 bytes: the same vector of 8 rows (a matrix of ldmatrix) covers
// all banks. Rows of 256 bytes: two neighbouring vectors of 4 rows (a tf32 fragment, word by word)
// do.
template <int kVectors>
__device__ __forceinline__ int swizzled(int row, int vector) {
  static_assert(kVectors == 2 || kVectors == 4 || kVectors == 8 || kVectors == 16);
  if constexpr (kVectors == 16) {
    return row * kVectors + (vector ^ (row % 4 * 2));
  } else {
    constexpr int kRowsPerLine = 8 / kVectors;
    return row * kVectors + (vector ^ (row / kRowsPerLine % kVectors));
  }
}

}  // namespace elite_ops::cuda
