// How often each class was taken for each other one.
#pragma once

#include <cstdint>

namespace elite_ops::cpu {

// matrix[target][prediction] = the number of rows with that pair; `matrix` [num_classes,
// num_classes] must be 0 before. Returns the first row with a label outside [0, num_classes), else
// -1.
int64_t confusion_matrix(const int64_t* prediction, const int64_t* target, int64_t num_rows,
                         int64_t num_classes, int64_t* matrix);

}  // namespace elite_ops::cpu
