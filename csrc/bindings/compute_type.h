// The types in which CPU kernels compute: float for half types, unless they know better.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "cpu/micro_gemm.h"

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

// The arguments of one product, all of one type. Bfloat16 stays as it is where the processor
// multiplies it; it does so by pairs, so that inner dimensions must be even.
class ProductTypes {
 public:
  ProductTypes(const at::Tensor& features, int64_t inner_dimensions)
      : keeps_(features.scalar_type() == at::kBFloat16 && inner_dimensions % 2 == 0 &&
               cpu::multiplies_bfloat16()) {}

  at::Tensor as_computed(const at::Tensor& t) const {
    if (!t.defined()) return t;
    return keeps_ ? t.contiguous() : elite_ops::as_computed(t);
  }
  at::Tensor as_computed(const std::optional<at::Tensor>& t) const {
    return as_computed(t.value_or(at::Tensor()));
  }

  // Calls `body` with a number of the type of `computed`.
  template <typename Body>
  static void dispatch(const at::Tensor& computed, const Body& body) {
    switch (computed.scalar_type()) {
      case at::kDouble:
        return body(double());
      case at::kBFloat16:
        return body(cpu::BFloat16());
      default:
        return body(float());
    }
  }

 private:
  bool keeps_;
};

}  // namespace elite_ops
