// An index of voxels on the CPU, and the errors of voxels that it finds.
#pragma once

#include "check.h"
#include "cpu/voxel_index.h"

namespace elite_ops {

inline void check_voxel_set_error(const char* op, const char* name, const int32_t* indices,
                                  const cpu::VoxelSetError& error) {
  const int32_t* row = indices + error.row * 4;
  TORCH_CHECK_INDEX(error.kind != cpu::VoxelSetError::kOutOfRange, op, ": `", name,
                    "` must be inside the grid, got (", row[0], ", ", row[1], ", ", row[2], ", ",
                    row[3], ") at row ", error.row);
  TORCH_CHECK_VALUE(error.kind != cpu::VoxelSetError::kDuplicate, op, ": `", name,
                    "` must be unique, got (", row[0], ", ", row[1], ", ", row[2], ", ", row[3],
                    ") at rows ", error.row, " and ", error.other_row);
}

// The index of voxels that are inside the grid, and unique unless told otherwise.
inline cpu::VoxelIndex checked_index(const char* op, const char* name, const VoxelSet& voxels,
                                     bool must_be_unique = true) {
  cpu::VoxelIndex index(voxels, cpu::CellKeys(voxels.grid));
  if (must_be_unique || index.error.kind == cpu::VoxelSetError::kOutOfRange) {
    check_voxel_set_error(op, name, voxels.indices, index.error);
  }
  return index;
}

}  // namespace elite_ops
