// CPU kernels on real threads: each is run under every schedule, and called by two threads at a
// time, and must give the same bits every time. Sanitizers watch (docs/conventions.md).
#pragma once

#include <cstring>
#include <functional>
#include <string_view>
#include <vector>

#include "cases.h"

namespace threads {

// The bytes of everything that a kernel wrote.
using Results = std::vector<std::string>;

template <typename... T>
Results results(const std::vector<T>&... written) {
  const auto bytes = [](const auto& values) {
    return std::string(reinterpret_cast<const char*>(values.data()),
                       values.size() * sizeof(values[0]));
  };
  return {bytes(written)...};
}

// Ends the program where two runs differ in a bit. `run` calls a kernel and returns its results. A
// loop that two threads don't share, because the input is too small for its grain, would prove
// nothing, and ends it too.
void check_same_bits(const std::function<Results()>& run);

}  // namespace threads
