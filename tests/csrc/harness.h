// The frame of every emulated test: cases (cases.h), and kernels on one thread. A test program
// includes this file once; it brings main().
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>

#include "cases.h"
#include "cpu/parallel.h"

// One thread, but several ranges, so that code that assumes a single range fails.
namespace elite_ops::cpu {

void parallel_for(int64_t begin, int64_t end, int64_t grain_size,
                  const std::function<void(int64_t, int64_t)>& body) {
  const int64_t step = std::max<int64_t>({1, grain_size, (end - begin + 2) / 3});
  for (int64_t i = begin; i < end; i += step) body(i, std::min(i + step, end));
}

int num_threads() { return 3; }

}  // namespace elite_ops::cpu

int main() {
  for (const harness::Case& c : harness::cases()) harness::run(c);
  return 0;
}
