// Lovász-softmax on CUDA.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "cuda/accumulate.cuh"

namespace elite_ops::cuda {

// Scratch of one call. num_points * num_classes must be below 2^31.
template <typename scalar_t>
size_t lovasz_softmax_workspace_bytes(int64_t num_points, int64_t num_classes);

// The loss of logits [N, C] against labels [N]; rows whose label is `ignore_label` are left out,
// and so are, with kLabelOutOfRange, those whose label is outside [0, C). A class counts if it has
// a point, or always unless `only_present`. Writes loss [] and grad_probabilities [C, N], the
// gradient with respect to softmax(logits), class by class. Without points or classes nothing is
// written.
template <typename scalar_t>
cudaError_t lovasz_softmax(const scalar_t* logits, const int64_t* labels, int64_t num_points,
                           int64_t num_classes, int64_t ignore_label, bool only_present,
                           void* workspace, accumulate_t<scalar_t>* loss,
                           accumulate_t<scalar_t>* grad_probabilities, int32_t* error_flag,
                           cudaStream_t stream);

// grad_logits [N, C] = the gradient through the softmax, times grad_out [].
template <typename scalar_t>
cudaError_t lovasz_softmax_backward(const accumulate_t<scalar_t>* grad_out, const scalar_t* logits,
                                    const accumulate_t<scalar_t>* grad_probabilities,
                                    int64_t num_points, int64_t num_classes, scalar_t* grad_logits,
                                    cudaStream_t stream);

}  // namespace elite_ops::cuda
