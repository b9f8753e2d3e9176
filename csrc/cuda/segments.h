// The points of each segment, as a CSR list, on CUDA.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

namespace elite_ops::cuda {

size_t build_segments_workspace_bytes(int64_t num_points);

// Writes `order` [num_points] and `offsets` [num_segments + 1] as cpu::build_segments does. A point
// whose segment is outside [-1, num_segments) counts as one in no segment, and sets
// kIndexOutOfRange in `error_flag`.
cudaError_t build_segments(const int32_t* inverse, int64_t num_points, int64_t num_segments,
                           void* workspace, int32_t* order, int32_t* offsets, int32_t* error_flag,
                           cudaStream_t stream);

}  // namespace elite_ops::cuda
