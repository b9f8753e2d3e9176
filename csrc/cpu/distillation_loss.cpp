#include "cpu/distillation_loss.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu/csr_rows.h"
#include "cpu/exp_nonpositive.h"
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

// The exponentials of one row of logits over the temperature, less their maximum. Scratch that is
// used again row after row.
template <typename scalar_t>
struct Exponentials {
  std::vector<scalar_t> arguments, values;
  scalar_t sum = 0;

  explicit Exponentials(int64_t num_classes) : arguments(num_classes), values(num_classes) {}

  void compute(const scalar_t* logits, scalar_t temperature) {
    const int64_t num_classes = values.size();
    scalar_t max = logits[0];
    for (int64_t c = 1; c < num_classes; ++c) max = logits[c] > max ? logits[c] : max;
    scalar_t* __restrict argument = arguments.data();
    scalar_t* __restrict value = values.data();
    for (int64_t c = 0; c < num_classes; ++c) {
      argument[c] = (logits[c] - max) / temperature;
      value[c] = exp_nonpositive(argument[c]);
    }
    sum = 0;
    for (int64_t c = 0; c < num_classes; ++c) sum += value[c];
  }

  scalar_t probability(int64_t c) const { return values[c] / sum; }
};

// KL(p || q) = sum_c p_c (a_c - b_c) - log(sum exp a) + log(sum exp b), with the arguments a of the
// teacher and b of the student. A class that the teacher gives no mass contributes nothing,
// whatever the student says.
template <typename scalar_t>
scalar_t divergence(const Exponentials<scalar_t>& teacher, const Exponentials<scalar_t>& student) {
  scalar_t cross = 0;
  for (size_t c = 0; c < teacher.values.size(); ++c) {
    const scalar_t mass = teacher.values[c];
    cross += mass > 0 ? mass * (teacher.arguments[c] - student.arguments[c]) : scalar_t(0);
  }
  return cross / teacher.sum - std::log(teacher.sum) + std::log(student.sum);
}

template <typename scalar_t>
Partial sum_chunk(const Distillation<scalar_t>& in, int64_t begin, int64_t end) {
  Partial partial;
  Exponentials<scalar_t> teacher(in.num_classes), student(in.num_classes);
  for (int64_t p = begin; p < end; ++p) {
    const int64_t row = in.index != nullptr ? in.index[p] : p;
    if (row < 0) continue;
    ++partial.count;
    const scalar_t weight = in.weight != nullptr ? in.weight[p] : scalar_t(1);
    if (weight == scalar_t(0)) continue;  // even where the divergence is infinite
    teacher.compute(in.teacher + p * in.num_classes, in.temperature);
    student.compute(in.student + row * in.num_classes, in.temperature);
    partial.sum += weight * divergence(teacher, student);
  }
  return partial;
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
    Exponentials<scalar_t> student(num_classes), teacher(num_classes);
    for (int64_t row = begin; row < end; ++row) {
      scalar_t* gradient = grad_student + row * num_classes;
      std::fill_n(gradient, num_classes, scalar_t(0));
      const int64_t first = offsets != nullptr ? offsets[row] : row;
      const int64_t last = offsets != nullptr ? offsets[row + 1] : row + 1;
      if (first == last) continue;
      student.compute(in.student + row * num_classes, in.temperature);
      for (int64_t e = first; e < last; ++e) {
        const int64_t point = order != nullptr ? order[e] : e;
        const scalar_t weight = in.weight != nullptr ? in.weight[point] : scalar_t(1);
        if (weight == scalar_t(0)) continue;
        teacher.compute(in.teacher + point * num_classes, in.temperature);
        for (int64_t c = 0; c < num_classes; ++c) {
          gradient[c] += weight * factor * (student.probability(c) - teacher.probability(c));
        }
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
