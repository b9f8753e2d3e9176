// The rows of a kernel map in groups that meet much the same offsets.
#pragma once

#include <cstdint>

#include "common/row_pattern.h"

namespace elite_ops::cpu {

// Writes order [V], the rows by group, then by number, and grouped [K, V] = neighbors[:, order].
void order_rows(const RowPatterns& groups, const int32_t* neighbors, int64_t num_rows,
                int32_t* order, int32_t* grouped);

}  // namespace elite_ops::cpu
