#include "cuda/accumulate.cuh"
#include "cuda/packed.cuh"
#include "cuda/row_groups.cuh"
#include "cuda/voxel_to_point.h"

namespace elite_ops::cuda {
namespace {

template <typename scalar_t, int width>
__global__ void voxel_to_point_kernel(const scalar_t* __restrict__ features,
                                      const int32_t* __restrict__ inverse, int64_t num_points,
                                      int64_t num_voxels, int64_t channels, int lanes,
                                      scalar_t* __restrict__ out) {
  using Pack = Packed<scalar_t, width>;
  const RowGroup place(lanes);
  const int64_t point = place.row();
  if (point >= num_points) return;
  const int64_t voxel = inverse[point];
  const bool has_voxel = voxel >= 0 && voxel < num_voxels;
  for (int64_t c = place.lane * width; c < channels; c += lanes * width) {
    Pack pack;
    for (int i = 0; i < width; ++i) pack.values[i] = static_cast<scalar_t>(0.f);
    if (has_voxel) pack = *reinterpret_cast<const Pack*>(features + voxel * channels + c);
    *reinterpret_cast<Pack*>(out + point * channels + c) = pack;
  }
}

template <typename scalar_t, int width>
cudaError_t launch(const scalar_t* features, const int32_t* inverse, int64_t num_points,
                   int64_t num_voxels, int64_t channels, scalar_t* out, cudaStream_t stream) {
  const int lanes = lanes_for(channels / width);
  const cudaLaunchConfig_t config = one_group_per(num_points, lanes, stream);
  return cudaLaunchKernelEx(&config, voxel_to_point_kernel<scalar_t, width>, features, inverse,
                            num_points, num_voxels, channels, lanes, out);
}

}  // namespace

template <typename scalar_t>
cudaError_t voxel_to_point(const scalar_t* features, const int32_t* inverse, int64_t num_points,
                           int64_t num_voxels, int64_t channels, scalar_t* out,
                           cudaStream_t stream) {
  if (num_points == 0 || channels == 0) return cudaSuccess;
  const bool wide = fits_widest(features, channels) && fits_widest(out, channels);
  const auto copy = wide ? launch<scalar_t, kWidest<scalar_t>> : launch<scalar_t, 1>;
  return copy(features, inverse, num_points, num_voxels, channels, out, stream);
}

#define INSTANTIATE(T)                                                                            \
  template cudaError_t voxel_to_point<T>(const T*, const int32_t*, int64_t, int64_t, int64_t, T*, \
                                         cudaStream_t);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(__half)
INSTANTIATE(__nv_bfloat16)

}  // namespace elite_ops::cuda
