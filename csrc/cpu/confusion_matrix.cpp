#include "confusion_matrix.h"

#include <algorithm>
#include <limits>
#include <mutex>
#include <vector>

#include "parallel.h"

namespace elite_ops::cpu {

int64_t confusion_matrix(const int64_t* prediction, const int64_t* target, int64_t num_rows,
                         int64_t num_classes, int64_t* matrix) {
  constexpr int64_t kNone = std::numeric_limits<int64_t>::max();
  const auto is_label = [&](int64_t label) { return label >= 0 && label < num_classes; };
  const int64_t cells = num_classes * num_classes;
  int64_t first_bad = kNone;
  std::mutex mutex;
  // One of several ranges counts for itself, so it should have more rows than the matrix has cells.
  parallel_for(0, num_rows, std::max<int64_t>(1 << 14, cells), [&](int64_t begin, int64_t end) {
    const bool is_only = begin == 0 && end == num_rows;
    std::vector<int64_t> own(is_only ? 0 : cells, 0);
    int64_t* counts = is_only ? matrix : own.data();
    int64_t bad = kNone;
    for (int64_t i = begin; i < end && bad == kNone; ++i) {
      if (is_label(prediction[i]) && is_label(target[i])) {
        ++counts[target[i] * num_classes + prediction[i]];
      } else {
        bad = i;
      }
    }
    const std::lock_guard<std::mutex> lock(mutex);
    for (size_t k = 0; k < own.size(); ++k) matrix[k] += own[k];
    first_bad = std::min(first_bad, bad);
  });
  return first_bad == kNone ? -1 : first_bad;
}

}  // namespace elite_ops::cpu
