// Bytes a point, with 8 corners: 12 in, 64 out, and 4 columns of 12 in the index, mostly cached.
#include "common/error_flag.h"
#include "cuda/devoxelize.h"
#include "cuda/launch.cuh"
#include "cuda/voxel_index.cuh"

namespace elite_ops::cuda {
namespace {

template <typename Index>
struct CellWalk {
  typename Index::Walk walk;
  const VoxelGrid& grid;

  __device__ int32_t find(int64_t batch, int64_t x, int64_t y, int64_t z) {
    walk.go_to(grid.key(batch, x, y, 0));
    return walk.find(static_cast<int32_t>(z));
  }
};

// Where there are no voxels.
struct NoRows {
  struct Walk {
    __device__ explicit Walk(const NoRows&) {}
    __device__ void go_to(int64_t) {}
    __device__ int32_t find(int32_t) { return -1; }
  };
};

template <typename Index>
__global__ void __launch_bounds__(kThreadsPerBlock)
    devoxelize_kernel(Devoxelization call, Index index, int32_t* __restrict__ rows,
                      float* __restrict__ weights, int32_t* error_flag) {
  const int64_t i = global_thread();
  if (i >= call.points.num_points) return;
  if (!call.in_batch(i)) atomicOr(error_flag, static_cast<int32_t>(kIndexOutOfRange));
  const int64_t first = i * call.corners();
  CellWalk<Index> walk{typename Index::Walk(index), call.grid};
  call.find(i, walk, rows + first, weights + first);
}

template <typename Index>
cudaError_t launch(const Devoxelization& call, const Index& index, int32_t* rows, float* weights,
                   int32_t* error_flag, cudaStream_t stream) {
  const cudaLaunchConfig_t config = one_thread_per(call.points.num_points, stream);
  return cudaLaunchKernelEx(&config, devoxelize_kernel<Index>, call, index, rows, weights,
                            error_flag);
}

}  // namespace

size_t devoxelize_workspace_bytes(const VoxelSet& voxels) {
  return voxel_index_workspace_bytes(voxels);
}

cudaError_t devoxelize(const Devoxelization& call, const VoxelSet& voxels, void* workspace,
                       int32_t* rows, float* weights, int32_t* error_flag, cudaStream_t stream) {
  if (call.points.num_points == 0) return cudaSuccess;
  if (voxels.num_voxels == 0) return launch(call, NoRows{}, rows, weights, error_flag, stream);
  return with_voxel_index(voxels, workspace, error_flag, stream, [&](const auto& index) {
    return launch(call, index, rows, weights, error_flag, stream);
  });
}

}  // namespace elite_ops::cuda
