// A double-precision bound in the type of what it is compared with.
#pragma once

#include <cmath>
#include <limits>

namespace elite_ops {

// The largest scalar_t that is not above `bound`: x > bound exactly when x > round_down(bound).
template <typename scalar_t>
scalar_t round_down(double bound) {
  const auto nearest = static_cast<scalar_t>(bound);
  if (static_cast<double>(nearest) <= bound) return nearest;
  return std::nextafter(nearest, -std::numeric_limits<scalar_t>::infinity());
}

}  // namespace elite_ops
