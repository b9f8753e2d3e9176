// Where results come from: on the CPU the library's memory pool, on CUDA torch's.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace elite_ops {

// An uninitialized tensor.
at::Tensor empty(at::IntArrayRef sizes, const at::TensorOptions& options,
                 std::optional<at::MemoryFormat> memory_format = std::nullopt);

// The same where an argument asks for its size: an OutOfMemoryError names it, and the bytes.
at::Tensor empty_for(const char* op, const char* argument, at::IntArrayRef sizes,
                     const at::TensorOptions& options);

}  // namespace elite_ops
