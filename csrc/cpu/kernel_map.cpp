#include "kernel_map.h"

#include <algorithm>
#include <atomic>
#include <numeric>
#include <vector>

#include "collect_pairs.h"
#include "parallel.h"

namespace elite_ops::cpu {
namespace {

constexpr int64_t kGrain = 4096;  // voxels; less is not worth a thread

// The consecutive offsets that share x and y, from the first of them on.
struct OffsetColumn {
  int64_t first_offset;
  int64_t displacement;  // of the first offset, as a difference of keys
  int64_t reach;         // from the first offset to the last, along z
};

// The offsets after the centre of a symmetric kernel, column by column.
std::vector<OffsetColumn> columns_after_centre(const KernelGeometry& kernel, const CellKeys& key) {
  std::vector<OffsetColumn> columns;
  const int64_t centre = kernel.num_offsets() / 2, dilation = kernel.dilation[2];
  const int64_t half = kernel.padding[2];
  if (kernel.size[2] > 1) columns.push_back({centre + 1, dilation, half - dilation});
  const int64_t num_columns = int64_t{kernel.size[0]} * kernel.size[1];
  for (int64_t c = num_columns / 2 + 1; c < num_columns; ++c) {
    const int64_t x = (c / kernel.size[1]) * kernel.dilation[0] - kernel.padding[0];
    const int64_t y = (c % kernel.size[1]) * kernel.dilation[1] - kernel.padding[1];
    columns.push_back({c * kernel.size[2], key(0, x, y, -half), 2 * half});
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

// The input cells that meet an output voxel under a column of offsets, as keys; none where the
// column leaves the grid.
struct InputColumn {
  int64_t lowest;  // of the first offset, which may lie below the grid
  int64_t begin;   // the keys in the grid, from the first offset to the last
  int64_t end;
};

InputColumn input_column(const KernelGeometry& kernel, const VoxelGrid& grid, const CellKeys& key,
                         const int32_t* output, int64_t i_x, int64_t i_y) {
  const int64_t x = kernel.first_input(0, output[1]) + i_x * kernel.dilation[0];
  const int64_t y = kernel.first_input(1, output[2]) + i_y * kernel.dilation[1];
  if (x < 0 || x >= grid.shape[0] || y < 0 || y >= grid.shape[1]) return {0, 0, 0};
  const int64_t z = kernel.first_input(2, output[3]), column = key(output[0], x, y, 0);
  const int64_t last = std::min<int64_t>(z + kernel.reach(2), grid.shape[2] - 1);
  return {column + z, column + std::max<int64_t>(z, 0), column + last + 1};
}

}  // namespace

VoxelSetError build_kernel_map(const VoxelSet& voxels, const KernelGeometry& kernel,
                               int64_t capacity, int32_t* in_rows) {
  const CellKeys key(voxels.grid, kernel.padding[0], kernel.padding[1], kernel.padding[2]);
  const VoxelIndex sorted(voxels, key);
  if (sorted.error.kind != VoxelSetError::kNone) return sorted.error;
  const int64_t num_voxels = voxels.num_voxels, last = kernel.num_offsets() - 1;
  parallel_for(0, last + 1, 1, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) std::fill_n(in_rows + k * capacity, num_voxels, -1);
  });
  // Where j is the neighbour of i under an offset, i is that of j under the opposite one: half of
  // the offsets are searched, and no entry is written twice.
  const std::vector<OffsetColumn> columns = columns_after_centre(kernel, key);
  parallel_for(0, num_voxels, kGrain, [&](int64_t begin, int64_t end) {
    int32_t* centre = in_rows + last / 2 * capacity;
    std::iota(centre + begin, centre + end, static_cast<int32_t>(begin));
    for (const OffsetColumn& column : columns) {
      join(sorted.keys, begin, end, column, kernel.dilation[2],
           [&](int64_t i, int64_t offset, int64_t j) {
             const int64_t row = sorted.row(i), other = sorted.row(j);
             in_rows[offset * capacity + row] = static_cast<int32_t>(other);
             in_rows[(last - offset) * capacity + other] = static_cast<int32_t>(row);
           });
    }
  });
  return {};
}

void connect_voxels(const VoxelSet& inputs, const VoxelIndex& input_index, const VoxelSet& outputs,
                    const VoxelIndex& output_index, const KernelGeometry& kernel,
                    int32_t* in_rows) {
  const CellKeys key(inputs.grid);
  const std::vector<int64_t>& keys = input_index.keys;
  const int64_t num_outputs = outputs.num_voxels, size_z = kernel.size[2];
  const int64_t num_columns = int64_t{kernel.size[0]} * kernel.size[1];
  parallel_for(0, num_outputs, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t c = 0; c < num_columns; ++c) {
      int32_t* rows = in_rows + c * size_z * num_outputs;
      // The keys looked for ascend with the outputs, so one walk finds them all.
      int64_t place = -1;
      for (int64_t i = begin; i < end; ++i) {
        const int64_t row = output_index.row(i);
        for (int64_t k = 0; k < size_z; ++k) rows[k * num_outputs + row] = -1;
        const InputColumn wanted = input_column(kernel, inputs.grid, key, outputs.indices + row * 4,
                                                c / kernel.size[1], c % kernel.size[1]);
        if (wanted.begin >= wanted.end) continue;
        if (place < 0) {
          place = std::lower_bound(keys.begin(), keys.end(), wanted.begin) - keys.begin();
        }
        while (keys[place] < wanted.begin) ++place;
        for (int64_t near = place; keys[near] < wanted.end; ++near) {
          const int64_t above = keys[near] - wanted.lowest;
          if (above % kernel.dilation[2] != 0) continue;
          rows[above / kernel.dilation[2] * num_outputs + row] =
              static_cast<int32_t>(input_index.row(near));
        }
      }
    }
  });
}

bool swap_kernel_map(const int32_t* rows, int64_t num_offsets, int64_t num_columns,
                     int64_t num_rows, int32_t* swapped) {
  std::atomic<bool> in_range{true};
  parallel_for(0, num_offsets, 1, [&](int64_t begin, int64_t end) {
    const auto collect_pairs = collect_pairs_variants().front().function;
    std::vector<int32_t> from(num_columns + kPairSlack), to(num_columns + kPairSlack);
    bool are_rows = true;
    for (int64_t k = begin; k < end; ++k) {
      int32_t* column = swapped + k * num_rows;
      std::fill_n(column, num_rows, -1);
      const PairList list{rows + k * num_columns, num_columns, num_rows, from.data(), to.data()};
      const int64_t num_pairs = collect_pairs(list, are_rows);
      for (int64_t p = 0; p < num_pairs; ++p) column[from[p]] = to[p];
    }
    if (!are_rows) in_range = false;
  });
  return in_range;
}

}  // namespace elite_ops::cpu
