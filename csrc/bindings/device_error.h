// The device error flag, as the host sees it.
#pragma once

#include <cstdint>

namespace elite_ops {

// Reads and clears the error flag of a CUDA device; synchronises its current stream. Returns
// ErrorFlag bits, 0 where nothing was reported or the build has no CUDA ops.
int32_t take_device_errors(int device);

}  // namespace elite_ops
