#include <algorithm>
#include <bit>
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>

#include "cuda/launch.cuh"
#include "cuda/lower_bound.cuh"
#include "cuda/row_offsets.h"
#include "cuda/transition.h"
#include "cuda/workspace.cuh"

// One direction at a time. The points, taken in the order of their columns, are sorted by row with
// a stable sort; then they are in the order of (row, column), and every run of equal pairs is an
// entry.
namespace elite_ops::cuda {
namespace {

struct Buffers {
  uint32_t* row;  // of each point, in the order of the columns; num_rows for those that don't count
  uint32_t* sorted_row;
  uint32_t* column;
  uint32_t* sorted_column;
  int32_t* entries;         // how many entries begin up to each sorted point
  int32_t* fine_offsets;    // where the sorted points of each fine voxel begin
  int32_t* coarse_offsets;  // the same of each coarse voxel
  void* storage;
  size_t storage_bytes;
  size_t bytes;
};

Buffers cut(void* workspace, int64_t num_points, int64_t num_fine, int64_t num_coarse) {
  Workspace space(workspace);
  Buffers buffers{};
  buffers.row = space.take<uint32_t>(num_points);
  buffers.sorted_row = space.take<uint32_t>(num_points);
  buffers.column = space.take<uint32_t>(num_points);
  buffers.sorted_column = space.take<uint32_t>(num_points);
  buffers.entries = space.take<int32_t>(num_points);
  buffers.fine_offsets = space.take<int32_t>(num_fine + 1);
  buffers.coarse_offsets = space.take<int32_t>(num_coarse + 1);
  size_t sort_bytes = 0, scan_bytes = 0;
  cub::DeviceRadixSort::SortPairs(nullptr, sort_bytes, buffers.row, buffers.sorted_row,
                                  buffers.column, buffers.sorted_column, num_points);
  cub::DeviceScan::InclusiveSum(nullptr, scan_bytes, buffers.entries, buffers.entries, num_points);
  buffers.storage_bytes = std::max(sort_bytes, scan_bytes);
  buffers.storage = space.take<unsigned char>(static_cast<int64_t>(buffers.storage_bytes));
  buffers.bytes = space.bytes();
  return buffers;
}

__global__ void pair_kernel(PointVoxels rows, PointVoxels columns, int64_t num_points,
                            uint32_t* __restrict__ row, uint32_t* __restrict__ column) {
  const int64_t k = global_thread();
  if (k >= num_points) return;
  const int32_t point = columns.order[k];
  const int32_t own_row = rows.inverse[point], own_column = columns.inverse[point];
  const bool counts = own_row >= 0 && own_row < rows.num_voxels && own_column >= 0 &&
                      own_column < columns.num_voxels;
  row[k] = static_cast<uint32_t>(counts ? own_row : rows.num_voxels);
  column[k] = static_cast<uint32_t>(counts ? own_column : 0);
}

// 1 where an entry begins.
__global__ void begin_kernel(const uint32_t* __restrict__ row, const uint32_t* __restrict__ column,
                             int64_t num_points, int64_t num_rows, int32_t* __restrict__ begins) {
  const int64_t k = global_thread();
  if (k >= num_points) return;
  const bool is_new = k == 0 || row[k] != row[k - 1] || column[k] != column[k - 1];
  begins[k] = row[k] < num_rows && is_new;
}

// Where the entries of each row begin, from where its points do.
__global__ void entry_offsets_kernel(const int32_t* __restrict__ point_offsets,
                                     const int32_t* __restrict__ entries, int64_t num_rows,
                                     int32_t* __restrict__ offsets) {
  const int64_t row = global_thread();
  if (row > num_rows) return;
  const int32_t first = point_offsets[row];
  offsets[row] = first == 0 ? 0 : entries[first - 1];
}

// The first point of an entry writes it; and the places after the last entry are filled.
__global__ void entry_kernel(const uint32_t* __restrict__ row, const uint32_t* __restrict__ column,
                             const int32_t* __restrict__ entries,
                             const int32_t* __restrict__ point_offsets,
                             const int32_t* __restrict__ coarse_offsets, bool rows_are_coarse,
                             int64_t num_points, CsrOutput out) {
  const int64_t k = global_thread();
  if (k >= num_points) return;
  if (k >= entries[num_points - 1]) {
    out.columns[k] = -1;
    out.weights[k] = 0;
  }
  const int32_t before = k == 0 ? 0 : entries[k - 1];
  if (entries[k] == before) return;
  const int64_t end = lower_bound(column, k, point_offsets[row[k] + 1], column[k] + 1);
  const uint32_t voxel = rows_are_coarse ? row[k] : column[k];
  const int32_t points = coarse_offsets[voxel + 1] - coarse_offsets[voxel];
  out.columns[before] = static_cast<int32_t>(column[k]);
  out.weights[before] = __fdiv_rn(static_cast<float>(end - k), static_cast<float>(points));
}

// `point_offsets` is one of `buffers`, the one of the rows' scale.
cudaError_t build_direction(const PointVoxels& rows, const PointVoxels& columns, int64_t num_points,
                            const Buffers& buffers, int32_t* point_offsets, const CsrOutput& out,
                            cudaStream_t stream) {
  const int64_t num_rows = rows.num_voxels;
  const cudaLaunchConfig_t per_row = one_thread_per(num_rows + 1, stream);
  if (num_points == 0) {
    return row_offsets(buffers.sorted_row, 0, num_rows, out.offsets, stream);
  }
  const cudaLaunchConfig_t per_point = one_thread_per(num_points, stream);
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_point, pair_kernel, rows, columns, num_points, buffers.row,
                                    buffers.column));
  size_t bytes = buffers.storage_bytes;
  const int bits = std::bit_width(static_cast<uint64_t>(num_rows));
  ELITE_CUDA_TRY(cub::DeviceRadixSort::SortPairs(
      buffers.storage, bytes, buffers.row, buffers.sorted_row, buffers.column,
      buffers.sorted_column, num_points, 0, bits, stream));
  ELITE_CUDA_TRY(row_offsets(buffers.sorted_row, num_points, num_rows, point_offsets, stream));
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_point, begin_kernel, buffers.sorted_row,
                                    buffers.sorted_column, num_points, num_rows, buffers.entries));
  ELITE_CUDA_TRY(cub::DeviceScan::InclusiveSum(buffers.storage, bytes, buffers.entries,
                                               buffers.entries, num_points, stream));
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_row, entry_offsets_kernel, point_offsets, buffers.entries,
                                    num_rows, out.offsets));
  return cudaLaunchKernelEx(&per_point, entry_kernel, buffers.sorted_row, buffers.sorted_column,
                            buffers.entries, point_offsets, buffers.coarse_offsets,
                            point_offsets == buffers.coarse_offsets, num_points, out);
}

}  // namespace

size_t build_transition_workspace_bytes(int64_t num_points, int64_t num_fine, int64_t num_coarse) {
  return cut(nullptr, num_points, num_fine, num_coarse).bytes;
}

cudaError_t build_transition(const PointVoxels& fine, const PointVoxels& coarse, int64_t num_points,
                             void* workspace, const CsrOutput& forward, const CsrOutput& transposed,
                             cudaStream_t stream) {
  const Buffers buffers = cut(workspace, num_points, fine.num_voxels, coarse.num_voxels);
  // This direction first: it finds out how many points a coarse voxel has, which both need.
  ELITE_CUDA_TRY(
      build_direction(coarse, fine, num_points, buffers, buffers.coarse_offsets, forward, stream));
  return build_direction(fine, coarse, num_points, buffers, buffers.fine_offsets, transposed,
                         stream);
}

}  // namespace elite_ops::cuda
