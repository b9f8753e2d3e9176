// The points of each segment, as CSR lists, on CUDA.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "common/segments.h"

namespace elite_ops::cuda {

// `num_points` of all lists together.
size_t build_segments_workspace_bytes(int64_t num_points);

// Writes for each of `num_lists` inputs, one behind the other, what cpu::build_segments does:
// `order` [num_points] and `offsets` [num_segments + 1]. One sort serves all lists. A point whose
// segment is outside [-1, num_segments) counts as one in no segment, and sets kIndexOutOfRange in
// `error_flag`.
cudaError_t build_segments(const SegmentInput* inputs, int num_lists, void* workspace,
                           int32_t* order, int32_t* offsets, int32_t* error_flag,
                           cudaStream_t stream);

// Writes what cpu::segments_from_csr does. Where that would return an offset, all points are in no
// segment, and kIndexOutOfRange is set in `error_flag`. `is_bad` is one number of scratch.
cudaError_t segments_from_csr(const int64_t* csr_offsets, int64_t num_points, int64_t num_segments,
                              int32_t* is_bad, int32_t* inverse, int32_t* order, int32_t* offsets,
                              int32_t* error_flag, cudaStream_t stream);

}  // namespace elite_ops::cuda
