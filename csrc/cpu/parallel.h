// The seam between the torch-free CPU kernels and torch's thread pool: csrc/bindings/parallel.cpp
// implements it with at::parallel_for; test programs bring an implementation of their own.
#pragma once

#include <cstdint>
#include <functional>

namespace elite_ops::cpu {

// Calls `body(begin, end)` on disjoint ranges that cover [begin, end), each of at least
// `grain_size` items where there are as many, possibly at the same time.
void parallel_for(int64_t begin, int64_t end, int64_t grain_size,
                  const std::function<void(int64_t, int64_t)>& body);

// How many ranges may run at the same time.
int num_threads();

}  // namespace elite_ops::cpu
