// The memory order that kernels expect, of a tensor that may be left out.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace elite_ops {

// Undefined where there is none.
inline at::Tensor contiguous(const std::optional<at::Tensor>& t) {
  return t ? t->contiguous() : at::Tensor();
}

}  // namespace elite_ops
