#include "common/error_flag.h"
#include "cuda/launch.cuh"
#include "cuda/serialize.h"

namespace elite_ops::cuda {
namespace {

__device__ int64_t code_of(const int32_t* index, const CurveArguments& curve) {
  auto x = static_cast<uint32_t>(index[curve.transposed ? 2 : 1]);
  auto y = static_cast<uint32_t>(index[curve.transposed ? 1 : 2]);
  auto z = static_cast<uint32_t>(index[3]);
  for (int bit = curve.hilbert ? curve.depth - 1 : 0; bit > 0; --bit) enter_octant(bit, x, y, z);
  const uint64_t code = interleave(x, y, z);
  return static_cast<int64_t>(static_cast<uint64_t>(index[0]) << 3 * curve.depth |
                              (curve.hilbert ? from_gray(code) : code));
}

__global__ void serialize_kernel(const int32_t* __restrict__ indices, int64_t num_voxels,
                                 CurveArguments curve, int64_t* __restrict__ codes,
                                 int32_t* error_flag) {
  const int64_t v = global_thread();
  if (v >= num_voxels) return;
  const int32_t* index = indices + v * 4;
  const bool has_code = curve.contains(index);
  if (!has_code) atomicOr(error_flag, static_cast<int32_t>(kIndexOutOfRange));
  codes[v] = has_code ? code_of(index, curve) : -1;
}

}  // namespace

cudaError_t serialize(const int32_t* indices, int64_t num_voxels, const CurveArguments& curve,
                      int64_t* codes, int32_t* error_flag, cudaStream_t stream) {
  if (num_voxels == 0) return cudaSuccess;
  const cudaLaunchConfig_t config = one_thread_per(num_voxels, stream);
  return cudaLaunchKernelEx(&config, serialize_kernel, indices, num_voxels, curve, codes,
                            error_flag);
}

}  // namespace elite_ops::cuda
