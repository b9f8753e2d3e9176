// How often each class was taken for each other one, on CUDA.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace elite_ops::cuda {

// matrix[target][prediction] = the number of rows with that pair; `matrix` [num_classes,
// num_classes] must be 0 before. Rows with a label outside [0, num_classes) are left out, and set
// kLabelOutOfRange in `error_flag`.
cudaError_t confusion_matrix(const int64_t* prediction, const int64_t* target, int64_t num_rows,
                             int64_t num_classes, int64_t* matrix, int32_t* error_flag,
                             cudaStream_t stream);

}  // namespace elite_ops::cuda
