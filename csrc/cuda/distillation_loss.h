#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "cuda/accumulate.cuh"

namespace elite_ops::cuda {

// What the loss compares: student [V, C] and teacher [P, C] logits. index [P]: each point's student
// row, -1 for none; null when row p belongs to point p (P = V). weight [P], or null for 1.
template <typename scalar_t>
struct Distillation {
  const scalar_t* student;
  const scalar_t* teacher;
  const int32_t* index;
  const accumulate_t<scalar_t>* weight;
  int64_t num_rows;
  int64_t num_points;
  int64_t num_classes;
  accumulate_t<scalar_t> temperature;
};

size_t distillation_loss_workspace_bytes(int64_t num_points);

// loss []: the sum over the points of weight * KL(teacher || student), times scale [], which is
// 1 / (terms_per_point * number of points that have a row); 1 where terms_per_point is 0. The loss
// is 0 when no point has a row; neither is written when there are no points at all. A point whose
// index is outside [-1, V) has no row, and is reported in `error_flag`.
template <typename scalar_t>
cudaError_t distillation_loss(const Distillation<scalar_t>& in, int64_t terms_per_point,
                              accumulate_t<scalar_t>* loss, accumulate_t<scalar_t>* scale,
                              void* workspace, int32_t* error_flag, cudaStream_t stream);

// grad_student [V, C], for the loss's gradient grad_loss []. order [P] and offsets [V + 1]: the
// points by row; null when row p belongs to point p.
template <typename scalar_t>
cudaError_t distillation_loss_backward(const Distillation<scalar_t>& in,
                                       const accumulate_t<scalar_t>* grad_loss,
                                       const accumulate_t<scalar_t>* scale, const int32_t* order,
                                       const int32_t* offsets, scalar_t* grad_student,
                                       cudaStream_t stream);

}  // namespace elite_ops::cuda
