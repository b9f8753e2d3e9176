#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace elite_ops::cuda {

// points [N, point_stride] (x y z first), projection [B, 3, 4], batch_index [N] or null when every
// point belongs to the first matrix; pixel [N, 2] (row, col), valid [N]. A batch index outside [0,
// B) makes its point invalid and is reported in `error_flag`.
cudaError_t project_points(const float* points, int64_t num_points, int64_t point_stride,
                           const float* projection, int64_t batch_size, const int64_t* batch_index,
                           int32_t height, int32_t width, int32_t* pixel, bool* valid,
                           int32_t* error_flag, cudaStream_t stream);

}  // namespace elite_ops::cuda
