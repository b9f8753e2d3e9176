// Where results come from: on the CPU the library's memory pool, on CUDA torch's.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace elite_ops {

// An uninitialized tensor.
at::Tensor empty(at::IntArrayRef sizes, const at::TensorOptions& options,
                 std::optional<at::MemoryFormat> memory_format = std::nullopt);

}  // namespace elite_ops
