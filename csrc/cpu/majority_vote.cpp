#include "majority_vote.h"

#include <vector>

#include "csr_rows.h"

namespace elite_ops::cpu {
namespace {

// The label with the most votes among those of `points`; `votes` is all 0 before and after.
int64_t winner(const int64_t* labels, const int32_t* points, int64_t count, int32_t* votes) {
  for (int64_t k = 0; k < count; ++k) ++votes[labels[points[k]]];
  int64_t best = labels[points[0]];
  for (int64_t k = 1; k < count; ++k) {
    const int64_t label = labels[points[k]];
    const bool is_ahead =
        votes[label] > votes[best] || (votes[label] == votes[best] && label < best);
    best = is_ahead ? label : best;
  }
  for (int64_t k = 0; k < count; ++k) votes[labels[points[k]]] = 0;
  return best;
}

}  // namespace

int64_t majority_vote(const int64_t* labels, const Csr& segments, int64_t num_classes,
                      int64_t ignore_label, int64_t* out) {
  const int32_t* offsets = segments.offsets;
  for (int32_t e = 0; e < offsets[segments.rows]; ++e) {
    const int64_t label = labels[segments.columns[e]];
    if (label < 0 || label >= num_classes) return segments.columns[e];
  }
  parallel_for_rows(offsets, segments.rows, 1, [&](int64_t begin, int64_t end) {
    std::vector<int32_t> votes(num_classes, 0);
    for (int64_t v = begin; v < end; ++v) {
      const int64_t count = offsets[v + 1] - offsets[v];
      out[v] = count == 0 ? ignore_label
                          : winner(labels, segments.columns + offsets[v], count, votes.data());
    }
  });
  return -1;
}

}  // namespace elite_ops::cpu
