// Maximum and mean of the rows that a kernel map brings together, and their gradients. Torch-free.
#pragma once

#include <cstdint>

#include "common/kernel_table.h"
#include "vectors.h"

namespace elite_ops::cpu {

// What all of these have in common: `in_rows` names the input rows of each output row, `out_rows`
// the same relation seen from the input. Results depend neither on the number of threads nor on
// `width`. False when a table holds a number outside [-1, its num_rows); such an entry counts as
// none.

// The largest value of each channel. NaN counts as larger than every number; of equals the first
// offset wins. `argmax` names the input row. An output row without inputs gets 0, and -1 in argmax.
template <typename T>
bool sparse_max_pool(const KernelTable& in_rows, int64_t channels,
                     const T* features,  // [num_in, channels]
                     T* out,             // [num_out, channels]
                     int32_t* argmax,    // [num_out, channels]
                     VectorBytes width = vector_widths().front());

// Every input row adds up the gradients of the output rows where it won.
template <typename T>
bool sparse_max_pool_backward(const KernelTable& out_rows, int64_t channels,
                              const T* grad_out,      // [num_out, channels]
                              const int32_t* argmax,  // [num_out, channels]
                              T* grad_features,       // [num_in, channels]
                              VectorBytes width = vector_widths().front());

// out[i, c] = features[argmax[i, c], c], 0 where that is -1: the gradient of
// sparse_max_pool_backward. False when argmax is outside [-1, num_in).
template <typename T>
bool sparse_max_pool_take(int64_t num_in, int64_t num_out, int64_t channels,
                          const T* features,      // [num_in, channels]
                          const int32_t* argmax,  // [num_out, channels]
                          T* out);                // [num_out, channels]

// The mean over the inputs that are there, and how many there are. An output row without inputs
// gets 0.
template <typename T>
bool sparse_avg_pool(const KernelTable& in_rows, int64_t channels,
                     const T* features,  // [num_in, channels]
                     T* out,             // [num_out, channels]
                     int32_t* counts,    // [num_out]
                     VectorBytes width = vector_widths().front());

// Every input row adds up the gradients of its output rows, each times 1 / counts.
template <typename T>
bool sparse_avg_pool_backward(const KernelTable& out_rows, int64_t channels,
                              const T* grad_out,      // [num_out, channels]
                              const int32_t* counts,  // [num_out]
                              T* grad_features,       // [num_in, channels]
                              VectorBytes width = vector_widths().front());

}  // namespace elite_ops::cpu
