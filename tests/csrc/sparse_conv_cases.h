// Inputs of the emulated tests of sparse convolution and what is built on it.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <memory>

#include "cuda/sparse_conv.h"
#include "harness.h"

namespace sparse_conv_cases {

using namespace elite_ops;

struct Table {
  SparseConvShape shape;
  std::vector<int32_t> neighbors;
};

// Rows that meet with probability `density`; a stretch of output rows, and the offsets below
// `first_offset`, meet nothing at all.
inline Table random_table(harness::Random& random, SparseConvShape shape, float density,
                          int64_t first_offset = 0) {
  Table table{shape, {}};
  for (int64_t k = 0; k < shape.num_offsets; ++k) {
    for (int64_t i = 0; i < shape.num_out; ++i) {
      const bool meets =
          shape.num_in > 0 && i % 80 < 60 && k >= first_offset && random.uniform(0, 1) < density;
      table.neighbors.push_back(meets ? static_cast<int32_t>(random.integer(shape.num_in)) : -1);
    }
  }
  return table;
}

template <typename T>
std::vector<float> widen(const std::vector<T>& values) {
  return {values.begin(), values.end()};
}

// Starts on 16 bytes as device memory does; `offset` elements further for the test of what does
// not. Copies share the memory.
template <typename T>
struct DeviceArray {
  std::shared_ptr<std::vector<T>> storage;
  T* data;
  explicit DeviceArray(const std::vector<T>& values, int64_t offset = 0)
      : storage(std::make_shared<std::vector<T>>(values.size() + 64 / sizeof(T))) {
    const auto address = reinterpret_cast<uintptr_t>(storage->data());
    data = storage->data() + (16 - address % 16) % 16 / sizeof(T) + offset;
    std::copy(values.begin(), values.end(), data);
  }
};

// What a rounding to T may change, relative to values near 1.
template <typename T>
double tolerance(bool tf32) {
  if (std::is_same_v<T, double>) return 1e-5;  // the truth is a float
  if (std::is_same_v<T, float>) return tf32 ? 1e-2 : 1e-5;
  return std::is_same_v<T, __half> ? 2e-3 : 1e-2;
}

// A convolution with nothing around it.
template <typename T>
cuda::SparseConvArguments<T> arguments(const SparseConvShape& shape, const T* features,
                                       const T* weight, const int32_t* neighbors, T* out,
                                       int32_t* error_flag) {
  cuda::SparseConvArguments<T> args;
  args.shape = shape;
  args.features = features;
  args.weight = weight;
  args.neighbors = neighbors;
  args.out = out;
  args.error_flag = error_flag;
  return args;
}

}  // namespace sparse_conv_cases
