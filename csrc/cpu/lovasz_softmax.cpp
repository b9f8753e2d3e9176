#include "lovasz_softmax.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <vector>

#include "parallel.h"
#include "radix_sort.h"

namespace elite_ops::cpu {
namespace {

constexpr int64_t kRowsPerTask = 512;

// softmax of one row.
template <typename scalar_t>
void softmax(const scalar_t* logits, int64_t num_classes, scalar_t* probabilities) {
  const scalar_t largest = *std::max_element(logits, logits + num_classes);
  scalar_t sum = 0;
  for (int64_t c = 0; c < num_classes; ++c) {
    probabilities[c] = std::exp(logits[c] - largest);
    sum += probabilities[c];
  }
  for (int64_t c = 0; c < num_classes; ++c) probabilities[c] /= sum;
}

// The points that have a label, and their errors class by class.
template <typename scalar_t>
struct Errors {
  std::vector<int32_t> rows;         // [M] row of each point
  std::vector<int32_t> labels;       // [M]
  std::unique_ptr<scalar_t[]> data;  // [C, M]

  int64_t num_points() const { return static_cast<int64_t>(rows.size()); }
  const scalar_t* of_class(int64_t c) const { return data.get() + c * num_points(); }
};

template <typename scalar_t>
Errors<scalar_t> errors_of(const scalar_t* logits, const int64_t* labels, int64_t num_points,
                           int64_t num_classes, int64_t ignore_label) {
  Errors<scalar_t> errors;
  for (int64_t row = 0; row < num_points; ++row) {
    if (labels[row] == ignore_label) continue;
    errors.rows.push_back(static_cast<int32_t>(row));
    errors.labels.push_back(static_cast<int32_t>(labels[row]));
  }
  const int64_t kept = errors.num_points();
  errors.data = std::make_unique_for_overwrite<scalar_t[]>(kept * num_classes);
  parallel_for(0, kept, kRowsPerTask, [&](int64_t begin, int64_t end) {
    std::vector<scalar_t> probabilities(num_classes);
    for (int64_t i = begin; i < end; ++i) {
      softmax(logits + errors.rows[i] * num_classes, num_classes, probabilities.data());
      scalar_t& hit = probabilities[errors.labels[i]];
      hit = 1 - hit;
      for (int64_t c = 0; c < num_classes; ++c) errors.data[c * kept + i] = probabilities[c];
    }
  });
  return errors;
}

// One class: its errors, sorted, meet the growth of the Jaccard loss.
template <typename scalar_t>
class ClassLoss {
 public:
  explicit ClassLoss(const Errors<scalar_t>& errors) : errors_(errors) {}

  // The loss of class `label`, and its gradient [N] with respect to the probabilities, times
  // `scale`.
  double operator()(int32_t label, scalar_t scale, scalar_t* gradient) {
    const int64_t foreground = collect(label);
    if (foreground == 0) return absent(label, scale, gradient);
    radix_sort_descending(items_, spare_);

    // With F foreground points, f of which and b background points are mispredicted, the Jaccard
    // loss is 1 - (F - f) / (F + b). Its growth is written without the difference of two such
    // terms.
    int64_t misses = foreground;  // F - f
    int64_t united = foreground;  // F + b
    double loss = 0;
    for (const auto& [error, value] : items_) {
      const uint32_t point = value / 2;
      const bool is_foreground = value % 2 != 0;
      double growth;
      if (is_foreground) {
        --misses;
        growth = 1. / static_cast<double>(united);
      } else {
        ++united;
        growth = static_cast<double>(misses) /
                 (static_cast<double>(united) * static_cast<double>(united - 1));
      }
      loss += growth * error;
      gradient[errors_.rows[point]] =
          static_cast<scalar_t>(is_foreground ? -growth : growth) * scale;
    }
    return loss;
  }

 private:
  // Background points below every foreground error come after the last foreground point, where the
  // Jaccard loss no longer grows: only the others are sorted. Returns the number of foreground
  // points.
  int64_t collect(int32_t label) {
    const scalar_t* error = errors_.of_class(label);
    const int64_t n = errors_.num_points();
    int64_t foreground = 0;
    scalar_t smallest = 1;
    for (int64_t i = 0; i < n; ++i) {
      if (errors_.labels[i] != label) continue;
      ++foreground;
      smallest = std::min(smallest, error[i]);
    }
    items_.resize(n);
    size_t size = 0;
    for (int64_t i = 0; i < n; ++i) {
      const bool is_foreground = errors_.labels[i] == label;
      items_[size] = {error[i], 2 * static_cast<uint32_t>(i) + is_foreground};
      size += !(error[i] < smallest);  // a NaN stays, and makes the loss NaN
    }
    items_.resize(size);
    return foreground;
  }

  // A class without a point: the Jaccard loss is 1 from the first mispredicted point on.
  double absent(int32_t label, scalar_t scale, scalar_t* gradient) const {
    const scalar_t* error = errors_.of_class(label);
    const auto worst = std::max_element(error, error + errors_.num_points()) - error;
    gradient[errors_.rows[worst]] = scale;
    return error[worst];
  }

  const Errors<scalar_t>& errors_;
  std::vector<KeyedItem<scalar_t>> items_, spare_;
};

std::vector<int32_t> classes_that_count(const std::vector<int32_t>& labels, int64_t num_classes,
                                        bool only_present) {
  std::vector<char> counts(num_classes, !only_present);
  for (int32_t label : labels) counts[label] = true;
  std::vector<int32_t> classes;
  for (int64_t c = 0; c < num_classes; ++c) {
    if (counts[c]) classes.push_back(static_cast<int32_t>(c));
  }
  return classes;
}

}  // namespace

template <typename scalar_t>
scalar_t lovasz_softmax(const scalar_t* logits, const int64_t* labels, int64_t num_points,
                        int64_t num_classes, int64_t ignore_label, bool only_present,
                        scalar_t* grad_probabilities) {
  const auto errors = errors_of(logits, labels, num_points, num_classes, ignore_label);
  if (errors.num_points() == 0) return 0;
  const auto classes = classes_that_count(errors.labels, num_classes, only_present);
  const auto count = static_cast<int64_t>(classes.size());
  const scalar_t scale = scalar_t(1) / static_cast<scalar_t>(count);

  // Classes differ in size by orders of magnitude, so each thread takes the next one when it is
  // free.
  std::vector<double> losses(count);
  std::atomic<int64_t> next{0};
  parallel_for(0, std::min<int64_t>(count, num_threads()), 1, [&](int64_t, int64_t) {
    ClassLoss<scalar_t> class_loss(errors);
    for (int64_t k = next++; k < count; k = next++) {
      losses[k] = class_loss(classes[k], scale, grad_probabilities + classes[k] * num_points);
    }
  });
  double sum = 0;
  for (double loss : losses) sum += loss;
  return static_cast<scalar_t>(sum / static_cast<double>(count));
}

template <typename scalar_t>
void lovasz_softmax_backward(scalar_t grad_out, const scalar_t* logits,
                             const scalar_t* grad_probabilities, int64_t num_points,
                             int64_t num_classes, scalar_t* grad_logits) {
  parallel_for(0, num_points, kRowsPerTask, [&](int64_t begin, int64_t end) {
    std::vector<scalar_t> probabilities(num_classes), gradient(num_classes);
    for (int64_t row = begin; row < end; ++row) {
      scalar_t* out = grad_logits + row * num_classes;
      bool is_zero = true;
      for (int64_t c = 0; c < num_classes; ++c) {
        gradient[c] = grad_probabilities[c * num_points + row];
        is_zero &= gradient[c] == 0;
      }
      if (is_zero) {  // an ignored row, whatever its logits
        std::fill(out, out + num_classes, scalar_t(0));
        continue;
      }
      softmax(logits + row * num_classes, num_classes, probabilities.data());
      scalar_t mean = 0;
      for (int64_t c = 0; c < num_classes; ++c) mean += probabilities[c] * gradient[c];
      for (int64_t c = 0; c < num_classes; ++c) {
        out[c] = grad_out * probabilities[c] * (gradient[c] - mean);
      }
    }
  });
}

template float lovasz_softmax(const float*, const int64_t*, int64_t, int64_t, int64_t, bool,
                              float*);
template double lovasz_softmax(const double*, const int64_t*, int64_t, int64_t, int64_t, bool,
                               double*);
template void lovasz_softmax_backward(float, const float*, const float*, int64_t, int64_t, float*);
template void lovasz_softmax_backward(double, const double*, const double*, int64_t, int64_t,
                                      double*);

}  // namespace elite_ops::cpu
