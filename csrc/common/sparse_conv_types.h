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

// What is done to a sum before it is written: leaky_relu(sum + bias + residual).
template <typename T, typename Accumulator = T>
struct SparseConvEpilogue {
  const T* bias = nullptr;                      // [c_out], or null
  const T* residual = nullptr;                  // [num_out, c_out], or null
  Accumulator negative_slope = Accumulator(1);  // 1: no activation
};

}  // namespace elite_ops
