// Output-stationary implicit GEMM by the warpgroup products of sm_90a. A block owns 64 output rows
// for each of its warpgroups, and 64 output channels. As in sparse_conv_mma.cu one asynchronous
// pipeline runs over all pairs of (offset that some row of the block needs, 64 input channels); a
// warpgroup whose 64 rows an offset all misses neither loads nor multiplies. What differs: a
// product reads both operands from shared memory by itself, so that no fragment passes through
// registers, and it runs while the next copies are started.
#include "dynamic_shared.cuh"
#include "launch.cuh"
#include "sparse_conv_mma.cuh"
#include "sparse_conv_slab.cuh"
#include "wgmma.cuh"

namespace elite_ops::cuda::tensor_core {

// The host can't see which architectures the kernels are compiled for: whoever builds says so.
bool holds_warpgroups() {
#if defined(ELITE_WITH_SM90A) || !defined(__CUDACC__)
  return true;
#else
  return false;
#endif
}

namespace {

constexpr int kChunk = 64;  // input channels of a stage: 128 bytes, the width of the swizzle

template <typename Element, int kWarpgroups>
struct Config {
  using T = Element;
  static constexpr int kRows = kWarpgroups * kWarpgroupRows;
  static constexpr int kThreads = kWarpgroups * kWarpgroupThreads;
  static constexpr int kWarpgroupSlabs = kWarpgroupRows / kSlabRows;
  static constexpr int kSlabs = kWarpgroups * kWarpgroupSlabs;
  // What shared memory allows on sm_90: blocks, and chunks in flight or in use.
  static constexpr int kBlocksPerSm = kWarpgroups == 1 ? 3 : 2;
  static constexpr int kStages = kWarpgroups == 1 ? 4 : 3;

  struct alignas(kSwizzleBytes) Shared {
    T a[kStages][kRows * kChunk];
    T b[kStages][kChunk * kColumns];
    int32_t rows[kOffsets][kRows];
    uint32_t slab_masks[kSlabs];
  };
};

// Starts the copies of one step: this warp's rows, unless the offset misses all of its warpgroup,
// and its share of the weights.
template <typename C>
__device__ __forceinline__ void load(const SparseConvArguments<typename C::T>& args,
                                     typename C::Shared& shared, int stage, const Step& step,
                                     int first_offset, int first_column, uint32_t warpgroup_mask) {
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32;
  const int offset = step.offset();
  const int64_t first_channel = int64_t{step.chunk} * kChunk;
  const Operand<typename C::T> from = operand(args, first_offset + offset);
  if (warpgroup_mask >> offset & 1) {
    load_slab<kVectors<typename C::T>>(from, &shared.rows[offset][warp * kSlabRows], first_channel,
                                       thread % 32, &shared.a[stage][warp * kSlabRows * kChunk]);
  }
  load_weights<kChunk, C::kThreads>(from, args.shape.c_out, first_channel, first_column,
                                    shared.b[stage]);
}

// Starts sums += the 64 rows `a` * the chunk `b` of the weights.
template <typename T>
__device__ __forceinline__ void multiply(const T* a, const T* b, float (&sums)[kTilesPerSlab][4]) {
  const uint64_t a_matrix = matrix_descriptor(a), b_matrix = matrix_descriptor(b);
  wgmma_fence(sums);
#pragma unroll
  for (int part = 0; part < kChunk / 16; ++part) {
    wgmma_m64n64k16<T>(sums, a_matrix + part * 2, b_matrix + part * 16 * kVectors<T>);
  }
  wgmma_commit();
}

template <typename C>
__global__ void __launch_bounds__(C::kThreads, C::kBlocksPerSm)
    forward_kernel(const SparseConvArguments<typename C::T> args, const Tiles<C::kRows> tiles) {
#if defined(__CUDA_ARCH__) && !defined(__CUDA_ARCH_FEAT_SM90_ALL)
  __trap();  // the launcher lets nobody come here
#else
  constexpr int kStages = C::kStages;
  auto& shared = *dynamic_shared<typename C::Shared>();
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int first_warp = warp / C::kWarpgroupSlabs * C::kWarpgroupSlabs;  // of the warpgroup
  const int64_t first_slab_row = tiles.first_row(blockIdx.x) + warp * kSlabRows;
  const int first_column = tiles.first_column(blockIdx.x);
  if (blockIdx.x >= tiles.count(valid_rows(args.num_rows, args.shape.num_out))) return;
  float sums[kTilesPerSlab][4] = {};

  for (int first_offset = 0; first_offset < offsets_of(args); first_offset += kOffsets) {
    __syncthreads();  // the batch before is done with the rows and the masks
    const uint32_t slab_mask = fetch_rows<C::kRows>(args, first_slab_row, first_offset, lane,
                                                    &shared.rows[0][warp * kSlabRows]);
    if (lane == 0) shared.slab_masks[warp] = slab_mask;
    __syncthreads();
    uint32_t block_mask = 0, warpgroup_mask = 0;
#pragma unroll
    for (int slab = 0; slab < C::kSlabs; ++slab) block_mask |= shared.slab_masks[slab];
#pragma unroll
    for (int slab = 0; slab < C::kWarpgroupSlabs; ++slab) {
      warpgroup_mask |= shared.slab_masks[first_warp + slab];
    }

    const Chunks chunks(args, first_offset, kChunk);
    const int steps = chunks.total(block_mask);
    Step next{block_mask, 0}, now{block_mask, 0};
    const auto load_step = [&](int i) {
      if (i < steps) {
        load<C>(args, shared, i % kStages, next, first_offset, first_column, warpgroup_mask);
        next.advance(chunks);
      }
      cp_async_commit();  // an empty group at the end, so that the wait below always counts alike
    };
    for (int i = 0; i < kStages - 1; ++i) load_step(i);
    for (int i = 0; i < steps; ++i) {
      cp_async_wait<kStages - 2>();
      fence_async_proxy();
      __syncthreads();  // step i has arrived, and all products of the step before are done
      if (warpgroup_mask >> now.offset() & 1) {
        multiply(&shared.a[i % kStages][first_warp * kSlabRows * kChunk], shared.b[i % kStages],
                 sums);
      }
      load_step(i + kStages - 1);
      wgmma_wait<0>(sums);
      now.advance(chunks);
    }
  }
  store_slab<kColumns>(args, first_slab_row, first_column, lane, sums);
#endif
}

template <typename T, int kWarpgroups>
cudaError_t launch(const SparseConvArguments<T>& args, cudaStream_t stream) {
  using C = Config<T, kWarpgroups>;
  const bool channels_fit = (args.shape.c_in | args.shortcut.channels) % kChunk == 0;
  if (!holds_warpgroups() || !channels_fit) return cudaErrorInvalidValue;
  int architecture = 0;
  ELITE_CUDA_TRY(current_architecture(&architecture));
  if (architecture != 90) return cudaErrorInvalidValue;
  constexpr auto kernel = forward_kernel<C>;
  constexpr size_t kBytes = kDynamicSharedBytes<typename C::Shared>;
  ELITE_CUDA_TRY(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      static_cast<int>(kBytes)));
  const Tiles<C::kRows> tiles(args.shape);
  const cudaLaunchConfig_t config =
      launch_config(tiles.count(args.shape.num_out), C::kThreads, stream, kBytes);
  return cudaLaunchKernelEx(&config, kernel, args, tiles);
}

}  // namespace

template <typename T>
cudaError_t forward_warpgroup_64(const SparseConvArguments<T>& args, cudaStream_t stream) {
  return launch<T, 1>(args, stream);
}

template <typename T>
cudaError_t forward_warpgroup_128(const SparseConvArguments<T>& args, cudaStream_t stream) {
  return launch<T, 2>(args, stream);
}

#define INSTANTIATE(T)                                                                       \
  template cudaError_t forward_warpgroup_64<T>(const SparseConvArguments<T>&, cudaStream_t); \
  template cudaError_t forward_warpgroup_128<T>(const SparseConvArguments<T>&, cudaStream_t)
INSTANTIATE(__half);
INSTANTIATE(__nv_bfloat16);
#undef INSTANTIATE

}  // namespace elite_ops::cuda::tensor_core
