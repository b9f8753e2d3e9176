#include "voxel_index.h"

#include <algorithm>
#include <limits>

#include "key_sort.h"

namespace elite_ops::cpu {

VoxelIndex::VoxelIndex(const VoxelSet& voxels, const CellKeys& key) : keys(voxels.num_voxels + 1) {
  int64_t previous = -1;
  bool is_ascending = true;
  for (int64_t i = 0; i < voxels.num_voxels; ++i) {
    if (!voxels.in_grid(i)) {
      error = {VoxelSetError::kOutOfRange, i};
      return;
    }
    const int32_t* index = voxels.indices + i * 4;
    keys[i] = key(index[0], index[1], index[2], index[3]);
    is_ascending &= keys[i] > previous;
    previous = keys[i];
  }
  keys.back() = std::numeric_limits<int64_t>::max();
  if (is_ascending) return;
  sort(voxels.grid.batch_size * key.stride_batch);
  const auto twin = std::adjacent_find(keys.begin(), keys.end());
  if (twin != keys.end()) {
    const int64_t i = twin - keys.begin();
    error = {VoxelSetError::kDuplicate, row(i), row(i + 1)};
  }
}

void VoxelIndex::sort(int64_t key_end) {
  std::vector<KeyedRow> sorted(size());
  for (int64_t i = 0; i < size(); ++i) sorted[i] = {keys[i], static_cast<int32_t>(i)};
  sort_by_key(sorted, key_end);
  rows.resize(size());
  for (int64_t i = 0; i < size(); ++i) {
    keys[i] = sorted[i].key;
    rows[i] = sorted[i].row;
  }
}

}  // namespace elite_ops::cpu
