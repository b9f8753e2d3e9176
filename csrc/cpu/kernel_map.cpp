#include "kernel_map.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "key_sort.h"
#include "parallel.h"

namespace elite_ops::cpu {
namespace {

constexpr int64_t kGrain = 4096;  // voxels; less is not worth a thread

// Numbers cells with a gap of the kernel's reach after each axis: a displacement is then one
// difference of keys, and one that leaves the grid lands in a gap, where no voxel is.
struct PaddedKeys {
  int64_t stride_batch, stride_x, stride_y;

  PaddedKeys(const VoxelSet& voxels, const KernelShape& kernel)
      : stride_batch((voxels.shape[0] + kernel.reach(0)) * (voxels.shape[1] + kernel.reach(1)) *
                     (voxels.shape[2] + kernel.reach(2))),
        stride_x((voxels.shape[1] + kernel.reach(1)) * (voxels.shape[2] + kernel.reach(2))),
        stride_y(voxels.shape[2] + kernel.reach(2)) {}

  int64_t operator()(int64_t batch, int64_t x, int64_t y, int64_t z) const {
    return batch * stride_batch + x * stride_x + y * stride_y + z;
  }
};

bool in_grid(const VoxelSet& voxels, const int32_t* index) {
  return index[0] >= 0 && index[0] < voxels.batch_size && index[1] >= 0 &&
         index[1] < voxels.shape[0] && index[2] >= 0 && index[2] < voxels.shape[1] &&
         index[3] >= 0 && index[3] < voxels.shape[2];
}

// Voxels by ascending key.
struct SortedVoxels {
  std::vector<int64_t> keys;  // and one past the end that is larger than any
  std::vector<int32_t> rows;  // empty where row i is i
  VoxelSetError error;

  SortedVoxels(const VoxelSet& voxels, const PaddedKeys& key) : keys(voxels.num_voxels + 1) {
    int64_t previous = -1;
    bool is_ascending = true;
    for (int64_t i = 0; i < voxels.num_voxels; ++i) {
      const int32_t* index = voxels.indices + i * 4;
      if (!in_grid(voxels, index)) {
        error = {VoxelSetError::kOutOfRange, i};
        return;
      }
      keys[i] = key(index[0], index[1], index[2], index[3]);
      is_ascending &= keys[i] > previous;
      previous = keys[i];
    }
    keys.back() = std::numeric_limits<int64_t>::max();
    if (is_ascending) return;
    sort(voxels.batch_size * key.stride_batch);
    const auto twin = std::adjacent_find(keys.begin(), keys.end());
    if (twin != keys.end()) {
      const int64_t i = twin - keys.begin();
      error = {VoxelSetError::kDuplicate, row(i), row(i + 1)};
    }
  }

  int64_t row(int64_t i) const { return rows.empty() ? i : rows[i]; }

 private:
  void sort(int64_t key_end) {
    const int64_t num_voxels = static_cast<int64_t>(keys.size()) - 1;
    std::vector<KeyedRow> sorted(num_voxels);
    for (int64_t i = 0; i < num_voxels; ++i) sorted[i] = {keys[i], static_cast<int32_t>(i)};
    sort_by_key(sorted, key_end);
    rows.resize(num_voxels);
    for (int64_t i = 0; i < num_voxels; ++i) {
      keys[i] = sorted[i].key;
      rows[i] = sorted[i].row;
    }
  }
};

// The consecutive offsets that share x and y, from the first of them on.
struct OffsetColumn {
  int64_t first_offset;
  int64_t displacement;  // of the first offset, as a difference of keys
  int64_t reach;         // from the first offset to the last, along z
};

// The offsets after the centre, column by column.
std::vector<OffsetColumn> columns_after_centre(const KernelShape& kernel, const PaddedKeys& key) {
  std::vector<OffsetColumn> columns;
  const int64_t centre = kernel.num_offsets() / 2, dilation = kernel.dilation[2];
  if (kernel.size[2] > 1) columns.push_back({centre + 1, dilation, kernel.reach(2) - dilation});
  const int64_t num_columns = int64_t{kernel.size[0]} * kernel.size[1];
  for (int64_t c = num_columns / 2 + 1; c < num_columns; ++c) {
    const int64_t x = (c / kernel.size[1]) * kernel.dilation[0] - kernel.reach(0);
    const int64_t y = (c % kernel.size[1]) * kernel.dilation[1] - kernel.reach(1);
    columns.push_back({c * kernel.size[2], key(0, x, y, -kernel.reach(2)), 2 * kernel.reach(2)});
  }
  return columns;
}

// Calls found(i, offset, j) for every voxel j that is the neighbour of a voxel i in [begin, end)
// under an offset of the column. The keys looked for ascend with i, so one walk finds them all.
template <typename Found>
void join(const std::vector<int64_t>& keys, int64_t begin, int64_t end, const OffsetColumn& column,
          int64_t dilation, const Found& found) {
  int64_t j =
      std::lower_bound(keys.begin(), keys.end(), keys[begin] + column.displacement) - keys.begin();
  for (int64_t i = begin; i < end; ++i) {
    const int64_t lowest = keys[i] + column.displacement;
    while (keys[j] < lowest) ++j;
    for (int64_t near = j; keys[near] <= lowest + column.reach; ++near) {
      const int64_t above = keys[near] - lowest;
      if (dilation == 1) {
        found(i, column.first_offset + above, near);
      } else if (above % dilation == 0) {
        found(i, column.first_offset + above / dilation, near);
      }
    }
  }
}

}  // namespace

VoxelSetError build_kernel_map(const VoxelSet& voxels, const KernelShape& kernel, int64_t capacity,
                               int32_t* neighbors) {
  const PaddedKeys key(voxels, kernel);
  const SortedVoxels sorted(voxels, key);
  if (sorted.error.kind != VoxelSetError::kNone) return sorted.error;
  const int64_t num_voxels = voxels.num_voxels, last = kernel.num_offsets() - 1;
  parallel_for(0, last + 1, 1, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) std::fill_n(neighbors + k * capacity, num_voxels, -1);
  });
  // Where j is the neighbour of i under an offset, i is that of j under the opposite one: half of
  // the offsets are searched, and no entry is written twice.
  const std::vector<OffsetColumn> columns = columns_after_centre(kernel, key);
  parallel_for(0, num_voxels, kGrain, [&](int64_t begin, int64_t end) {
    int32_t* centre = neighbors + last / 2 * capacity;
    std::iota(centre + begin, centre + end, static_cast<int32_t>(begin));
    for (const OffsetColumn& column : columns) {
      join(sorted.keys, begin, end, column, kernel.dilation[2],
           [&](int64_t i, int64_t offset, int64_t j) {
             const int64_t row = sorted.row(i), other = sorted.row(j);
             neighbors[offset * capacity + row] = static_cast<int32_t>(other);
             neighbors[(last - offset) * capacity + other] = static_cast<int32_t>(row);
           });
    }
  });
  return {};
}

}  // namespace elite_ops::cpu
