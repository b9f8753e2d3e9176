// The value that stands for "no label is ignored" where a kernel takes an ignore_label.
#pragma once

#include <cstdint>
#include <limits>

namespace elite_ops {

constexpr int64_t kNoIgnoreLabel = std::numeric_limits<int64_t>::min();

}  // namespace elite_ops
