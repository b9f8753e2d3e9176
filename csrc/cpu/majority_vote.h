// The commonest label of each segment.
#pragma once

#include <cstdint>

#include "common/csr.h"

namespace elite_ops::cpu {

// out[v] = the commonest label of the points of segment v, the smallest among equally common ones;
// `ignore_label` where a segment is empty. Returns the first listed point whose label is outside
// [0, num_classes), and then writes nothing; else -1.
int64_t majority_vote(const int64_t* labels, const Csr& segments, int64_t num_classes,
                      int64_t ignore_label, int64_t* out);

}  // namespace elite_ops::cpu
