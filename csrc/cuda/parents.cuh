// The cells of halved grids that voxels lie in, from any index of the cells' keys (neighbors.cuh).
#pragma once

#include "cuda/neighbors.cuh"

namespace elite_ops::cuda {

// The voxels of one grid, and what is written about their cells in the halved grid.
template <typename Index>
struct ParentTable {
  VoxelSet voxels;
  Index index;  // of the cells
  VoxelGrid halved;
  int64_t capacity;  // of `counts`
  int32_t* parents;  // [num_voxels] of `voxels`
  int32_t* counts;   // zeros at first
};

// Tables that one launch fills, one after the other in its blocks.
template <typename Index>
struct ParentTables {
  int count = 0;
  int64_t first_block[kMaxScales + 1] = {};
  ParentTable<Index> tables[kMaxScales];

  void add(const ParentTable<Index>& table) {
    tables[count] = table;
    const int64_t blocks = (table.voxels.num_voxels + kThreadsPerBlock - 1) / kThreadsPerBlock;
    first_block[count + 1] = first_block[count] + blocks;
    ++count;
  }
};

template <typename Index>
__global__ void find_parents_kernel(const ParentTables<Index> all) {
  int t = 0;
  while (blockIdx.x >= all.first_block[t + 1]) ++t;
  const ParentTable<Index>& table = all.tables[t];
  const int64_t i = (blockIdx.x - all.first_block[t]) * blockDim.x + threadIdx.x;
  if (i >= table.voxels.num_voxels) return;
  int32_t row = -1;
  if (i < table.voxels.size()) {
    const int32_t* index = table.voxels.indices + i * 4;
    typename Index::Walk walk(table.index);
    walk.go_to(table.halved.key(index[0], index[1] / 2, index[2] / 2, 0));
    row = walk.find(index[3] / 2);
    if (row >= table.capacity) row = -1;
    if (row >= 0) atomicAdd(&table.counts[row], 1);
  }
  table.parents[i] = row;
}

template <typename Index>
cudaError_t find_parents(const ParentTables<Index>& all, cudaStream_t stream) {
  const int64_t blocks = all.first_block[all.count];
  if (blocks == 0) return cudaSuccess;
  const cudaLaunchConfig_t config = launch_config(blocks, kThreadsPerBlock, stream);
  return cudaLaunchKernelEx(&config, find_parents_kernel<Index>, all);
}

}  // namespace elite_ops::cuda
