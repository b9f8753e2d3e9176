#include "common/error_flag.h"
#include "common/projection.h"
#include "cuda/launch.cuh"
#include "cuda/project_points.h"

namespace elite_ops::cuda {
namespace {

__global__ void project_points_kernel(const float* __restrict__ points, int64_t num_points,
                                      int64_t point_stride, const float* __restrict__ projection,
                                      int64_t batch_size, const int64_t* __restrict__ batch_index,
                                      int32_t height, int32_t width, int32_t* __restrict__ pixel,
                                      bool* __restrict__ valid, int32_t* __restrict__ error_flag) {
  const int64_t i = global_thread();
  if (i >= num_points) return;
  const int64_t batch = batch_index != nullptr ? batch_index[i] : 0;
  Pixel at = kNoPixel;
  if (batch >= 0 && batch < batch_size) {
    const float* p = points + i * point_stride;
    at = project_point(projection + 12 * batch, p[0], p[1], p[2], height, width);
  } else {
    atomicOr(error_flag, kIndexOutOfRange);
  }
  pixel[2 * i] = at.row;
  pixel[2 * i + 1] = at.col;
  valid[i] = at.row >= 0;
}

}  // namespace

cudaError_t project_points(const float* points, int64_t num_points, int64_t point_stride,
                           const float* projection, int64_t batch_size, const int64_t* batch_index,
                           int32_t height, int32_t width, int32_t* pixel, bool* valid,
                           int32_t* error_flag, cudaStream_t stream) {
  if (num_points == 0) return cudaSuccess;
  const cudaLaunchConfig_t config = one_thread_per(num_points, stream);
  return cudaLaunchKernelEx(&config, project_points_kernel, points, num_points, point_stride,
                            projection, batch_size, batch_index, height, width, pixel, valid,
                            error_flag);
}

}  // namespace elite_ops::cuda
