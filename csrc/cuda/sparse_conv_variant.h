// Which kernel computes a convolution.
#pragma once

#include <cstdint>

#include "common/sparse_conv_types.h"

namespace elite_ops::cuda {

// Each gives the same bits on every run, and kRows16 and kRows32 give the same bits as each other.
enum class SparseConvVariant : int32_t {
  kAutomatic = 0,  // as choose_variant says
  kGeneral = 1,    // plain arithmetic, any type, any channels
  kRows16 = 2,     // tensor cores, 16 rows a warp; 16-bit types
  kRows32 = 3,     // tensor cores, 32 rows a warp
};

constexpr int64_t kRowsForLargeWarps = 32768;

// The choice for what tensor cores can do. Larger tiles read the weights less often; small ones
// spread few rows over more multiprocessors, and most of a padded buffer may be empty.
constexpr SparseConvVariant choose_variant(int64_t num_out, bool is_padded, int element_bytes) {
  if (element_bytes == 4) return SparseConvVariant::kRows32;
  return !is_padded && num_out >= kRowsForLargeWarps ? SparseConvVariant::kRows32
                                                     : SparseConvVariant::kRows16;
}

}  // namespace elite_ops::cuda
