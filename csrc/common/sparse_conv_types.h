// What describes one sparse convolution, for the CPU and the CUDA kernels.
#pragma once

#include <cstdint>

namespace elite_ops {

struct SparseConvShape {
  int64_t num_in;       // rows of the input features
  int64_t num_out;      // rows of the output, columns of the neighbour table
  int64_t num_offsets;  // K: rows of the neighbour table
  int64_t c_in;
  int64_t c_out;
};

// What a linear map of other features on the output's voxels adds to the sums.
template <typename T>
struct SparseConvShortcut {
  const T* features = nullptr;  // [num_out, channels], or null: there is none
  const T* weight = nullptr;    // [channels, c_out]
  int64_t channels = 0;
};

// A matrix that is read at one row for each row of the output.
template <typename T>
struct GatheredRows {
  const T* data = nullptr;        // [num_rows, channels]
  const int32_t* rows = nullptr;  // [num_out], -1 adds nothing; or null: row i for row i
  int64_t num_rows = 0;
};

constexpr int kMaxResiduals = 4;  // matrices that one call adds

}  // namespace elite_ops
