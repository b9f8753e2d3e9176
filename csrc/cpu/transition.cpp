#include "transition.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "parallel.h"

namespace elite_ops::cpu {
namespace {

// For every row, how many points it has that have a voxel in both scales, as a running total:
// result[v] counts those of the rows before v.
std::vector<int32_t> point_offsets(const PointVoxels& rows, const PointVoxels& columns,
                                   int64_t num_points) {
  std::vector<int32_t> offsets(rows.num_voxels + 1, 0);
  for (int64_t i = 0; i < num_points; ++i) {
    if (rows.inverse[i] >= 0 && columns.inverse[i] >= 0) ++offsets[rows.inverse[i] + 1];
  }
  std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
  return offsets;
}

// The columns of every point, by row and then by column: a stable counting sort by row of the
// points in the order of their columns.
std::vector<int32_t> sorted_columns(const PointVoxels& rows, const PointVoxels& columns,
                                    int64_t num_points, const std::vector<int32_t>& offsets) {
  std::vector<int32_t> sorted(offsets.back());
  std::vector<int32_t> next = offsets;
  for (int64_t k = 0; k < num_points; ++k) {
    const int32_t i = columns.order[k];
    if (rows.inverse[i] >= 0 && columns.inverse[i] >= 0) {
      sorted[next[rows.inverse[i]]++] = columns.inverse[i];
    }
  }
  return sorted;
}

// One entry per run of equal columns in a row. `points_of(row, column)` is the number of points of
// the coarse one of the two.
template <typename PointsOf>
void write_entries(const std::vector<int32_t>& offsets, const std::vector<int32_t>& sorted,
                   int64_t num_points, const PointsOf& points_of, const CsrOutput& out) {
  int32_t entries = 0;
  const int64_t rows = static_cast<int64_t>(offsets.size()) - 1;
  for (int64_t v = 0; v < rows; ++v) {
    out.offsets[v] = entries;
    for (int32_t begin = offsets[v], end; begin < offsets[v + 1]; begin = end) {
      const int32_t column = sorted[begin];
      for (end = begin + 1; end < offsets[v + 1] && sorted[end] == column;) ++end;
      out.columns[entries] = column;
      out.weights[entries] =
          static_cast<float>(end - begin) / static_cast<float>(points_of(v, column));
      ++entries;
    }
  }
  out.offsets[rows] = entries;
  std::fill(out.columns + entries, out.columns + num_points, -1);
  std::fill(out.weights + entries, out.weights + num_points, 0.f);
}

}  // namespace

void build_transition(const PointVoxels& fine, const PointVoxels& coarse, int64_t num_points,
                      const CsrOutput& forward, const CsrOutput& transposed) {
  const std::vector<int32_t> coarse_offsets = point_offsets(coarse, fine, num_points);
  const auto coarse_points = [&](int64_t v) { return coarse_offsets[v + 1] - coarse_offsets[v]; };
  // The two directions don't depend on each other: one thread each.
  parallel_for(0, 2, 1, [&](int64_t begin, int64_t end) {
    for (int64_t direction = begin; direction < end; ++direction) {
      if (direction == 0) {
        write_entries(
            coarse_offsets, sorted_columns(coarse, fine, num_points, coarse_offsets), num_points,
            [&](int64_t row, int32_t) { return coarse_points(row); }, forward);
      } else {
        const std::vector<int32_t> offsets = point_offsets(fine, coarse, num_points);
        write_entries(
            offsets, sorted_columns(fine, coarse, num_points, offsets), num_points,
            [&](int64_t, int32_t column) { return coarse_points(column); }, transposed);
      }
    }
  });
}

}  // namespace elite_ops::cpu
