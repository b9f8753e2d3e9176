// CUB's two-call protocol: without storage a call only says how much it needs, with storage it
// works.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>

#include "emulator/api.h"

namespace emulation {

template <typename Iterator>
using ValueOf = typename std::iterator_traits<Iterator>::value_type;

// Takes the storage of one call over `num_items` items. Returns whether the call shall do its work;
// if not, `status` is the call's answer.
inline bool take_storage(void* storage, size_t& bytes, int64_t num_items, cudaError_t& status) {
  // Grows with the input, as CUB's does, so that a size asked for fewer items doesn't serve more.
  const size_t needed = 256 + static_cast<size_t>(num_items) / 8;
  status = cudaSuccess;
  if (!storage) {
    bytes = needed;
    return false;
  }
  if (bytes < needed) {
    status = remember(cudaErrorInvalidValue);
    return false;
  }
  ++num_enqueued;
  // The device writes here: what else lies in these bytes is lost.
  std::memset(storage, 0xAB, needed);
  return true;
}

}  // namespace emulation
