// The commonest label of each segment, on CUDA.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "common/csr.h"

namespace elite_ops::cuda {

// out[v] = the commonest label of the points of segment v, the smallest among equally common ones;
// `ignore_label` where nobody votes. A label outside [0, num_classes) has no vote and sets
// kLabelOutOfRange in `error_flag`. num_classes must be positive and below 2^31. A warp counts a
// segment, so a segment that holds everything is slow.
cudaError_t majority_vote(const int64_t* labels, const Csr& segments, int64_t num_classes,
                          int64_t ignore_label, int64_t* out, int32_t* error_flag,
                          cudaStream_t stream);

}  // namespace elite_ops::cuda
