#pragma once

#include <cstdint>

namespace elite_ops::cpu {

// What the loss compares: student [V, C] and teacher [P, C] logits. index [P]: each point's student
// row, -1 for none; null when row p belongs to point p (P = V). weight [P], or null for 1.
template <typename scalar_t>
struct Distillation {
  const scalar_t* student;
  const scalar_t* teacher;
  const int32_t* index;
  const scalar_t* weight;
  int64_t num_rows;
  int64_t num_points;
  int64_t num_classes;
  scalar_t temperature;
};

// loss []: the sum over the points of weight * KL(teacher || student), times scale [], which is
// 1 / (terms_per_point * number of points that have a row); 1 where terms_per_point is 0.
// The loss is 0 when no point has a row.
template <typename scalar_t>
void distillation_loss(const Distillation<scalar_t>& in, int64_t terms_per_point, scalar_t* loss,
                       scalar_t* scale);

// grad_student [V, C], for d(sum) = grad_sum. order [P] and offsets [V + 1]: the points by row;
// null when in.index is null.
template <typename scalar_t>
void distillation_loss_backward(const Distillation<scalar_t>& in, scalar_t grad_sum,
                                const int32_t* order, const int32_t* offsets,
                                scalar_t* grad_student);

}  // namespace elite_ops::cpu
