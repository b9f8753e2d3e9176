// Products of a warpgroup, as late and as early as the device may be: a product reads its operands
// where it is issued, and they must be the same still when it is waited for; the sums hold
// not-a-numbers from the product until then. So whoever reads the sums too early (a missing wait
// or commit) or fills an operand that is not there yet, or overwrites one that is still needed, is
// noticed. Sums are rounded as in tensor_core.h.
#pragma once

#include <cstdint>

#include "emulator/block.h"

namespace emulation {

constexpr int kSumsPerThread = 32;  // of a product with 64 columns

// `numbers` gives the value of each of the 65536 elements. `a` has the descriptor of a matrix by
// rows of k, `b` that of one by rows of n.
void multiply_64x64x16(float* sums, uint64_t a, uint64_t b, const float* numbers, Place place);
void fence_products(Place place);
void commit_products(Place place);
void wait_for_products(int groups_under_way, Place place);

// The thread has exited; what its warpgroup didn't wait for never arrives.
void forget_products(int thread);

}  // namespace emulation
