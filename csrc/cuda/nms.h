// Non-maximum suppression on CUDA.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

namespace elite_ops::cuda {

// Scratch of one call: about num_boxes^2 / 8 bytes.
template <typename scalar_t>
size_t nms_workspace_bytes(int64_t num_boxes);

// boxes [N, 4] x1 y1 x2 y2, scores [N]. Writes the rows that are kept, by falling score, to the
// beginning of kept [N], and their number to num_kept []. A NaN score comes last; a box with a NaN
// corner suppresses nothing and is kept. Without boxes nothing is written.
template <typename scalar_t>
cudaError_t nms(const scalar_t* boxes, const scalar_t* scores, int64_t num_boxes,
                double iou_threshold, void* workspace, int64_t* kept, int64_t* num_kept,
                cudaStream_t stream);

}  // namespace elite_ops::cuda
