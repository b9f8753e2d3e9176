#include "kernel_map.h"

#include <algorithm>
#include <limits>
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
    for (int64_t i = 0; i < voxels.num_voxels; ++i) {
      const int32_t* index = voxels.indices + i * 4;
      if (!in_grid(voxels, index)) {
        error = {VoxelSetError::kOutOfRange, i};
        return;
      }
      keys[i] = key(index[0], index[1], index[2], index[3]);
    }
    keys.back() = std::numeric_limits<int64_t>::max();
    if (!std::is_sorted(keys.begin(), keys.end() - 1)) sort(voxels.batch_size * key.stride_batch);
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

// Joins the voxels [begin, end) with their neighbours in the columns displaced by `displacement`
// (a difference of keys, z excluded), which ascend along with them. `found(i, i_z, j)` gets every
// pair: voxel j is the neighbour of voxel i at z offset i_z.
template <typename Found>
void join(const std::vector<int64_t>& keys, int64_t begin, int64_t end, int64_t displacement,
          const KernelShape& kernel, const Found& found) {
  const int64_t reach = kernel.reach(2), dilation = kernel.dilation[2];
  const int64_t first = keys[begin] + displacement - reach;
  int64_t j = std::lower_bound(keys.begin(), keys.end() - 1, first) - keys.begin();
  for (int64_t i = begin; i < end; ++i) {
    const int64_t lowest = keys[i] + displacement - reach;
    while (keys[j] < lowest) ++j;
    for (int64_t near = j; keys[near] <= lowest + 2 * reach; ++near) {
      const int64_t above = keys[near] - lowest;
      if (dilation == 1) {
        found(i, above, near);
      } else if (above % dilation == 0) {
        found(i, above / dilation, near);
      }
    }
  }
}

}  // namespace

VoxelSetError build_kernel_map(const VoxelSet& voxels, const KernelShape& kernel,
                               int32_t* neighbors) {
  const PaddedKeys key(voxels, kernel);
  const SortedVoxels sorted(voxels, key);
  if (sorted.error.kind != VoxelSetError::kNone) return sorted.error;
  const int64_t num_voxels = voxels.num_voxels;
  parallel_for(0, kernel.num_offsets() * num_voxels, kGrain * 16, [&](int64_t begin, int64_t end) {
    std::fill(neighbors + begin, neighbors + end, -1);
  });
  parallel_for(0, num_voxels, kGrain, [&](int64_t begin, int64_t end) {
    for (int32_t column = 0; column < kernel.size[0] * kernel.size[1]; ++column) {
      const int64_t x = (column / kernel.size[1] - kernel.size[0] / 2) * kernel.dilation[0];
      const int64_t y = (column % kernel.size[1] - kernel.size[1] / 2) * kernel.dilation[1];
      int32_t* table = neighbors + column * kernel.size[2] * num_voxels;
      join(sorted.keys, begin, end, key(0, x, y, 0), kernel,
           [&](int64_t i, int64_t i_z, int64_t j) {
             table[i_z * num_voxels + sorted.row(i)] = static_cast<int32_t>(sorted.row(j));
           });
    }
  });
  return {};
}

}  // namespace elite_ops::cpu
