#include "majority_vote.h"

#include <algorithm>
#include <vector>

#include "csr_rows.h"

namespace elite_ops::cpu {
namespace {

// Votes for more classes than this are sorted rather than counted: a counter for each of 2^31 - 1
// classes would fill the memory.
constexpr int64_t kMostCounted = 1 << 16;

// The label with the most votes among those of `points`; `votes` is all 0 before and after.
int64_t counted_winner(const int64_t* labels, const int32_t* points, int64_t count,
                       int32_t* votes) {
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

// The same, by the longest run of the labels in order. `sorted` is scratch.
int64_t sorted_winner(const int64_t* labels, const int32_t* points, int64_t count,
                      std::vector<int64_t>& sorted) {
  sorted.clear();
  for (int64_t k = 0; k < count; ++k) sorted.push_back(labels[points[k]]);
  std::sort(sorted.begin(), sorted.end());
  int64_t best = sorted[0], most = 0;
  for (int64_t begin = 0, end; begin < count; begin = end) {
    for (end = begin + 1; end < count && sorted[end] == sorted[begin];) ++end;
    if (end - begin > most) {
      most = end - begin;
      best = sorted[begin];
    }
  }
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
    const bool counts = num_classes <= kMostCounted;
    std::vector<int32_t> votes(counts ? num_classes : 0, 0);
    std::vector<int64_t> sorted;
    for (int64_t v = begin; v < end; ++v) {
      const int32_t* points = segments.columns + offsets[v];
      const int64_t count = offsets[v + 1] - offsets[v];
      out[v] = count == 0 ? ignore_label
               : counts   ? counted_winner(labels, points, count, votes.data())
                          : sorted_winner(labels, points, count, sorted);
    }
  });
  return -1;
}

}  // namespace elite_ops::cpu
