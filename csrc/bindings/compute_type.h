// The CPU kernels know float and double; half types are computed in float.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace elite_ops {

// `t` contiguous, and in the type that its CPU kernel computes in.
inline at::Tensor as_computed(const at::Tensor& t) {
  const bool is_half = t.scalar_type() == at::kHalf || t.scalar_type() == at::kBFloat16;
  return (is_half ? t.to(at::kFloat) : t).contiguous();
}

// The same; undefined where there is none.
inline at::Tensor as_computed(const std::optional<at::Tensor>& t) {
  return t ? as_computed(*t) : at::Tensor();
}

}  // namespace elite_ops
