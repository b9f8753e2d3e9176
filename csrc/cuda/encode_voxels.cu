// A warp owns a voxel, and its lanes own channels. Points come a few at a time, so that a weight is
// loaded once for all of them; what describes a point is computed by every lane alike.
#include "common/num_rows.h"
#include "cuda/encode_voxels.h"
#include "cuda/point_describer.cuh"
#include "cuda/row_groups.cuh"

namespace elite_ops::cuda {
namespace {

constexpr int kPoints = 4;  // at a time

// One channel of the voxel: the sum over its points.
template <typename T>
__device__ accumulate_t<T> sum_channel(const VoxelPoints& voxels,
                                       const VoxelEncoder<T, accumulate_t<T>>& encoder,
                                       const float (&origins)[6], int32_t first, int32_t last,
                                       int64_t channel) {
  using accumulate = accumulate_t<T>;
  accumulate sum = 0;
  for (int32_t e = first; e < last; e += kPoints) {
    const float* point[kPoints];
    accumulate value[kPoints];
#pragma unroll
    for (int p = 0; p < kPoints; ++p) {
      point[p] = voxels.point(min(e + p, last - 1));
      value[p] = static_cast<accumulate>(encoder.bias[channel]);
    }
    const auto add_product = [&](int64_t feature, int64_t column, float origin) {
      const auto weight =
          static_cast<accumulate>(encoder.weight[feature * encoder.channels + channel]);
#pragma unroll
      for (int p = 0; p < kPoints; ++p) {
        value[p] += weight * static_cast<accumulate>(point[p][column] - origin);
      }
    };
    for (int64_t c = 0; c < voxels.columns; ++c) add_product(c, c, 0.f);
#pragma unroll
    for (int i = 0; i < 6; ++i) add_product(voxels.columns + i, i % 3, origins[i]);
#pragma unroll
    for (int p = 0; p < kPoints; ++p) {
      if (e + p < last) sum += value[p] < 0 ? value[p] * encoder.negative_slope : value[p];
    }
  }
  return sum;
}

template <typename T>
__global__ void encode_voxels_kernel(VoxelPoints voxels, VoxelEncoder<T, accumulate_t<T>> encoder,
                                     T* __restrict__ out) {
  const RowGroup place(kWarpSize);
  const int64_t v = place.row();
  if (v >= valid_rows(voxels.voxels.num_rows, voxels.voxels.rows)) return;
  const int32_t first = voxels.voxels.offsets[v], last = voxels.voxels.offsets[v + 1];
  float origins[6] = {};
  if (first < last) find_origins(voxels, v, place.lane, origins);
  const auto count = static_cast<accumulate_t<T>>(max(last - first, 1));
  for (int64_t channel = place.lane; channel < encoder.channels; channel += kWarpSize) {
    const auto sum = sum_channel(voxels, encoder, origins, first, last, channel);
    out[v * encoder.channels + channel] = static_cast<T>(sum / count);
  }
}

}  // namespace

template <typename T>
cudaError_t encode_voxels(const VoxelPoints& voxels,
                          const VoxelEncoder<T, accumulate_t<T>>& encoder, T* out,
                          cudaStream_t stream) {
  if (voxels.voxels.rows == 0 || encoder.channels == 0) return cudaSuccess;
  const cudaLaunchConfig_t config = one_group_per(voxels.voxels.rows, kWarpSize, stream);
  return cudaLaunchKernelEx(&config, encode_voxels_kernel<T>, voxels, encoder, out);
}

#define INSTANTIATE(T)                                      \
  template cudaError_t encode_voxels<T>(const VoxelPoints&, \
                                        const VoxelEncoder<T, accumulate_t<T>>&, T*, cudaStream_t)
INSTANTIATE(float);
INSTANTIATE(double);
INSTANTIATE(__half);
INSTANTIATE(__nv_bfloat16);
#undef INSTANTIATE

}  // namespace elite_ops::cuda
