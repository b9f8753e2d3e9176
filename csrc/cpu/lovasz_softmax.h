// Lovász-softmax on the CPU.
#pragma once

#include <cstdint>

namespace elite_ops::cpu {

// The loss of logits [N, C] against labels [N]; rows whose label is `ignore_label` are left out,
// all other labels lie in [0, C). A class counts if it has a point, or always unless
// `only_present`. grad_probabilities [C, N], zeroed: the gradient with respect to softmax(logits),
// class by class.
template <typename scalar_t>
scalar_t lovasz_softmax(const scalar_t* logits, const int64_t* labels, int64_t num_points,
                        int64_t num_classes, int64_t ignore_label, bool only_present,
                        scalar_t* grad_probabilities);

// grad_logits [N, C] = the gradient through the softmax, times grad_out.
template <typename scalar_t>
void lovasz_softmax_backward(scalar_t grad_out, const scalar_t* logits,
                             const scalar_t* grad_probabilities, int64_t num_points,
                             int64_t num_classes, scalar_t* grad_logits);

}  // namespace elite_ops::cpu
