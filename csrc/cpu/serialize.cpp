#include "serialize.h"

#include <algorithm>

#include "parallel.h"

namespace elite_ops::cpu {
namespace {

constexpr int64_t kGrain = 4096;  // voxels; less is not worth a thread
constexpr int64_t kBlock = 256;   // voxels whose cells stay in the first cache level

// One block; loops over voxels, that they vectorize.
void serialize_block(const int32_t* indices, int64_t n, const CurveArguments& curve,
                     int64_t* codes) {
  uint32_t x[kBlock], y[kBlock], z[kBlock];
  const int axis_x = curve.transposed ? 2 : 1, axis_y = curve.transposed ? 1 : 2;
  for (int64_t i = 0; i < n; ++i) {
    x[i] = static_cast<uint32_t>(indices[i * 4 + axis_x]);
    y[i] = static_cast<uint32_t>(indices[i * 4 + axis_y]);
    z[i] = static_cast<uint32_t>(indices[i * 4 + 3]);
  }
  for (int bit = curve.hilbert ? curve.depth - 1 : 0; bit > 0; --bit) {
    for (int64_t i = 0; i < n; ++i) enter_octant(bit, x[i], y[i], z[i]);
  }
  for (int64_t i = 0; i < n; ++i) {
    const uint64_t code = interleave(x[i], y[i], z[i]);
    const auto sample = static_cast<uint64_t>(indices[i * 4]);
    codes[i] =
        static_cast<int64_t>(sample << 3 * curve.depth | (curve.hilbert ? from_gray(code) : code));
  }
}

}  // namespace

int64_t first_without_code(const int32_t* indices, int64_t num_voxels,
                           const CurveArguments& curve) {
  for (int64_t v = 0; v < num_voxels; ++v) {
    if (!curve.contains(indices + v * 4)) return v;
  }
  return num_voxels;
}

void serialize(const int32_t* indices, int64_t num_voxels, const CurveArguments& curve,
               int64_t* codes) {
  parallel_for(0, num_voxels, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t v = begin; v < end; v += kBlock) {
      serialize_block(indices + v * 4, std::min(kBlock, end - v), curve, codes + v);
    }
  });
}

}  // namespace elite_ops::cpu
