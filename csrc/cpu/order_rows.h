// The rows of a kernel map in groups that meet much the same offsets.
#pragma once

#include <cstdint>

#include "common/row_pattern.h"

namespace elite_ops::cpu {

// Writes order [V], the rows by group, then by number, and ordered_rows [K, V] = in_rows[:, order].
void order_rows(const RowPatterns& groups, const int32_t* in_rows, int64_t num_rows, int32_t* order,
                int32_t* ordered_rows);

}  // namespace elite_ops::cpu
