// Measurements choose the CUDA kernel of sparse convolutions themselves.
#pragma once

namespace elite_ops {

constexpr int kNumSparseConvVariants = 4;  // of cuda/sparse_conv_variant.h

// Has every later call use one; 0 leaves the choice to `choose_variant`. The CPU has one way.
void force_sparse_conv_variant(int variant);

}  // namespace elite_ops
