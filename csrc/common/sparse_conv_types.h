// The sizes of one sparse convolution, shared by the CPU and the CUDA kernels.
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

}  // namespace elite_ops
