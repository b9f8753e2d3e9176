// Where results come from: on the CPU the library's memory pool, on CUDA torch's.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>
#include <c10/util/accumulate.h>

#include <new>
#include <optional>

namespace elite_ops {

// An uninitialized tensor.
at::Tensor empty(at::IntArrayRef sizes, const at::TensorOptions& options,
                 std::optional<at::MemoryFormat> memory_format = std::nullopt);

// The same where an argument asks for its size: on the CPU an OutOfMemoryError names it, and the
// bytes.
inline at::Tensor empty_for(const char* op, const char* argument, at::IntArrayRef sizes,
                            const at::TensorOptions& options) {
  try {
    return empty(sizes, options);
  } catch (const std::bad_alloc&) {
    const int64_t bytes =
        c10::multiply_integers(sizes) * static_cast<int64_t>(options.dtype().itemsize());
    TORCH_CHECK_WITH(OutOfMemoryError, false, op, ": `", argument, "` asks for ", bytes,
                     " bytes, which there are not");
  }
}

}  // namespace elite_ops
