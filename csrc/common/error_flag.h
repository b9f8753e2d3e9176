// What a kernel can report about its input: bits of the device error flag, which the host reads at
// the next natural synchronisation. The CPU ops raise the same errors at once.
#pragma once

#include <cstdint>

namespace elite_ops {

enum ErrorFlag : int32_t {
  kIndexOutOfRange = 1,   // an index or a coordinate outside its range
  kDuplicateIndices = 2,  // two equal rows where rows must be unique
  kLabelOutOfRange = 4,   // a label outside [0, num_classes)
  kCapacityExceeded = 8,  // more rows than a buffer of fixed capacity holds
};

}  // namespace elite_ops
