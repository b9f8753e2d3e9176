// The column with the largest number of each row.
#pragma once

#include "common/most_likely.h"

namespace elite_ops::cpu {

// out[i] = the first column with the largest number of row i, NaN being larger than any other; 0
// where the row has no label. There must be a column that is not ignored.
template <typename scalar_t>
void most_likely(const LogitRows<scalar_t>& in, int64_t* out);

}  // namespace elite_ops::cpu
