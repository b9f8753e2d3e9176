#include "cpu/distillation_loss.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu/csr_rows.h"
#include "cpu/parallel.h"

namespace elite_ops::cpu {
namespace {

// Points that are summed together. Fixed, so that the loss does not depend on the number of
// threads.
constexpr int64_t kChunk = 512;

struct Partial {
  double sum = 0;
  int64_t count = 0;
};

// Softmax of one row at a temperature: the class probabilities are exponentials / sum.
template <typename scalar_t>
struct Softmax {
  scalar_t max, sum;
};

template <typename scalar_t>
scalar_t max_of(const scalar_t* logits, int64_t num_classes) {
  scalar_t max = logits[0];
  for (int64_t c = 1; c < num_classes; ++c) max = logits[c] > max ? logits[c] : max;
  return max;
}

template <typename scalar_t>
scalar_t softmax(const scalar_t* logits, int64_t num_classes, scalar_t temperature,
                 scalar_t* exponentials) {
  const scalar_t max = max_of(logits, num_classes);
  scalar_t sum = 0;
  for (int64_t c = 0; c < num_classes; ++c) {
    exponentials[c] = std::exp((logits[c] - max) / temperature);
    sum += exponentials[c];
  }
  return sum;
}

// KL(p || q) = sum_c p_c (a_c - b_c) - log(sum exp a) + log(sum exp b), with a and b the logits
// minus their maximum, over the temperature. A class that the teacher gives no mass contributes
// nothing, whatever the student says.
template <typename scalar_t>
scalar_t divergence(const scalar_t* teacher, const scalar_t* student, int64_t num_classes,
                    scalar_t temperature) {
  const scalar_t teacher_max = max_of(teacher, num_classes),
                 student_max = max_of(student, num_classes);
  scalar_t teacher_sum = 0, student_sum = 0, cross = 0;
  for (int64_t c = 0; c < num_classes; ++c) {
    const scalar_t a = (teacher[c] - teacher_max) / temperature;
    const scalar_t b = (student[c] - student_max) / temperature;
    const scalar_t mass = std::exp(a);
    teacher_sum += mass;
    student_sum += std::exp(b);
    cross += mass > 0 ? mass * (a - b) : scalar_t(0);
  }
  return cross / teacher_sum - std::log(teacher_sum) + std::log(student_sum);
}

template <typename scalar_t>
Partial sum_chunk(const Distillation<scalar_t>& in, int64_t begin, int64_t end) {
  Partial partial;
  for (int64_t p = begin; p < end; ++p) {
    const int64_t row = in.index != nullptr ? in.index[p] : p;
    if (row < 0) continue;
    ++partial.count;
    const scalar_t weight = in.weight != nullptr ? in.weight[p] : scalar_t(1);
    if (weight == scalar_t(0)) continue;  // even where the divergence is infinite
    const scalar_t* teacher = in.teacher + p * in.num_classes;
    const scalar_t* student = in.student + row * in.num_classes;
    partial.sum += weight * divergence(teacher, student, in.num_classes, in.temperature);
  }
  return partial;
}

// Adds weight * (q - p) of one point to gradient [C].
template <typename scalar_t>
void add_gradient(const scalar_t* q, const scalar_t* teacher, int64_t num_classes,
                  scalar_t temperature, scalar_t weight, scalar_t* p, scalar_t* gradient) {
  const scalar_t sum = softmax(teacher, num_classes, temperature, p);
  for (int64_t c = 0; c < num_classes; ++c) gradient[c] += weight * (q[c] - p[c] / sum);
}

}  // namespace

template <typename scalar_t>
void distillation_loss(const Distillation<scalar_t>& in, int64_t terms_per_point, scalar_t* loss,
                       scalar_t* scale) {
  const int64_t num_chunks = (in.num_points + kChunk - 1) / kChunk;
  std::vector<Partial> partials(num_chunks);
  parallel_for(0, num_chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const int64_t first = chunk * kChunk;
      partials[chunk] = sum_chunk(in, first, std::min(first + kChunk, in.num_points));
    }
  });
  Partial total;
  for (const Partial& partial : partials) {
    total.sum += partial.sum;
    total.count += partial.count;
  }
  const int64_t terms = terms_per_point * total.count;
  *scale = terms > 0 ? scalar_t(1) / static_cast<scalar_t>(terms) : scalar_t(1);
  *loss = static_cast<scalar_t>(total.sum) * *scale;
}

template <typename scalar_t>
void distillation_loss_backward(const Distillation<scalar_t>& in, scalar_t grad_sum,
                                const int32_t* order, const int32_t* offsets,
                                scalar_t* grad_student) {
  const int64_t num_classes = in.num_classes;
  const scalar_t factor = grad_sum / in.temperature;
  const auto rows = [&](int64_t begin, int64_t end) {
    std::vector<scalar_t> buffer(2 * num_classes);
    scalar_t *q = buffer.data(), *p = q + num_classes;
    for (int64_t row = begin; row < end; ++row) {
      scalar_t* gradient = grad_student + row * num_classes;
      std::fill_n(gradient, num_classes, scalar_t(0));
      const int64_t first = offsets != nullptr ? offsets[row] : row;
      const int64_t last = offsets != nullptr ? offsets[row + 1] : row + 1;
      if (first == last) continue;
      const scalar_t sum = softmax(in.student + row * num_classes, num_classes, in.temperature, q);
      for (int64_t c = 0; c < num_classes; ++c) q[c] /= sum;
      for (int64_t e = first; e < last; ++e) {
        const int64_t point = order != nullptr ? order[e] : e;
        const scalar_t weight = in.weight != nullptr ? in.weight[point] : scalar_t(1);
        if (weight == scalar_t(0)) continue;
        const scalar_t* teacher = in.teacher + point * num_classes;
        add_gradient(q, teacher, num_classes, in.temperature, weight * factor, p, gradient);
      }
    }
  };
  if (offsets != nullptr) {
    parallel_for_rows(offsets, in.num_rows, num_classes, rows);
  } else {
    parallel_for(0, in.num_rows, kChunk, rows);
  }
}

#define ELITE_INSTANTIATE(scalar_t)                                                            \
  template void distillation_loss<scalar_t>(const Distillation<scalar_t>&, int64_t, scalar_t*, \
                                            scalar_t*);                                        \
  template void distillation_loss_backward<scalar_t>(const Distillation<scalar_t>&, scalar_t,  \
                                                     const int32_t*, const int32_t*, scalar_t*);
ELITE_INSTANTIATE(float)
ELITE_INSTANTIATE(double)
#undef ELITE_INSTANTIATE

}  // namespace elite_ops::cpu
