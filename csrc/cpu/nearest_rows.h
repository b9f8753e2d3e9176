// Nearest neighbours of points on the CPU.
#pragma once

#include <cstdint>

namespace elite_ops::cpu {

// queries [Q, 3], candidates [M, 3] with 0 < M < 2^31, nearest [Q]. Of equally near candidates the
// smallest row. What is not finite counts as 0 in a query, and as infinitely far in a candidate.
void nearest_rows(const float* queries, int64_t num_queries, const float* candidates,
                  int64_t num_candidates, int64_t* nearest);

}  // namespace elite_ops::cpu
