// Rows sorted by 63-bit keys: what serves the grids that are too large for a bitmap.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/workspace.cuh"

namespace elite_ops::cuda {

struct KeySort {
  uint64_t* keys;  // [num_rows], to be filled with keys in [0, key_end)
  int32_t* rows;   // [num_rows], to be filled with row numbers
  uint64_t* sorted_keys;
  int32_t* sorted_rows;
  int64_t num_rows;
  void* scratch;
  size_t scratch_bytes;
};

// Takes the arrays from `workspace`.
KeySort take_key_sort(Workspace& workspace, int64_t num_rows);

// Sorts by keys; equal keys keep their order.
cudaError_t sort_by_key(const KeySort& sort, int64_t key_end, cudaStream_t stream);

}  // namespace elite_ops::cuda
