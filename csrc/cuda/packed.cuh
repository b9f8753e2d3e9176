// Several neighbouring scalars, loaded and stored at once.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace elite_ops::cuda {

template <typename scalar_t, int width>
struct alignas(sizeof(scalar_t) * width) Packed {
  scalar_t values[width];
};

// How many scalars make the widest load, 16 bytes.
template <typename scalar_t>
constexpr int kWidest = 16 / sizeof(scalar_t);

// Whether the rows of `channels` scalars that begin at `pointer` can be read in widest loads.
template <typename scalar_t>
bool fits_widest(const scalar_t* pointer, int64_t channels) {
  return channels % kWidest<scalar_t> == 0 && reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
}

}  // namespace elite_ops::cuda
