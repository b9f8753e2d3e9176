// Output-stationary implicit GEMM. A block owns kRows output rows and 64 output channels at a time;
// a warp owns a slab of 16 of the rows, the height of an mma. One asynchronous pipeline runs over
// all pairs of (offset that some row of the block needs, chunk of input channels) without draining
// in between; the rows to gather are in shared memory before it starts. A slab that an offset does
// not meet neither loads nor multiplies.
#include "dynamic_shared.cuh"
#include "launch.cuh"
#include "sparse_conv_mma.cuh"
#include "sparse_conv_slab.cuh"

namespace elite_ops::cuda::tensor_core {
namespace {

constexpr int kStages = 3;  // chunks in flight or in use

// kChunkBytes: the part of a row of features that one stage holds.
template <typename Element, int kSlabs_, int kChunkBytes>
struct Config {
  using T = Element;
  static constexpr int kSlabs = kSlabs_;
  static constexpr int kRows = kSlabs * kSlabRows;
  static constexpr int kThreads = kSlabs * 32;
  static constexpr int kBlocksPerSm = kSlabs == 4 ? 3 : 2;  // what shared memory allows on sm_90
  static constexpr bool kLoops = kSlabs == 4;  // over tiles; 8 slabs have no registers for that
  static constexpr int kChunk = kChunkBytes / sizeof(T);
  static constexpr int kVectorsA = kChunkBytes / 16;

  struct Shared {
    T a[kStages][kRows * kChunk];
    T b[kStages][kChunk * kColumns];
    int32_t rows[kOffsets][kRows];
    uint32_t slab_masks[kSlabs];
  };
};

// Starts the copies of one step: this warp's rows, unless the offset misses them all, and its share
// of the weights.
template <typename C>
__device__ __forceinline__ void load(const SparseConvArguments<typename C::T>& args,
                                     typename C::Shared& shared, int stage, const Step& step,
                                     int first_offset, int first_column, uint32_t slab_mask) {
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int offset = step.offset();
  const int64_t first_channel = int64_t{step.chunk} * C::kChunk;
  const Operand<typename C::T> from = operand(args, first_offset + offset);
  if (slab_mask >> offset & 1) {
    load_slab<C::kVectorsA>(from, &shared.rows[offset][warp * kSlabRows], first_channel, lane,
                            &shared.a[stage][warp * kSlabRows * C::kChunk]);
  }
  load_weights<C::kChunk, C::kThreads>(from, args.shape.c_out, first_channel, first_column,
                                       shared.b[stage]);
}

template <typename C>
__device__ __forceinline__ void convolve_tile(const SparseConvArguments<typename C::T>& args,
                                              typename C::Shared& shared, int64_t first_row,
                                              int first_column) {
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t first_slab_row = first_row + warp * kSlabRows;
  float sums[kTilesPerSlab][4] = {};

  for (int first_offset = 0; first_offset < offsets_of(args); first_offset += kOffsets) {
    __syncthreads();  // the batch or the tile before is done with the rows and the masks
    const uint32_t slab_mask = fetch_rows<C::kRows>(args, first_slab_row, first_offset, lane,
                                                    &shared.rows[0][warp * kSlabRows]);
    if (lane == 0) shared.slab_masks[warp] = slab_mask;
    __syncthreads();
    uint32_t block_mask = 0;
#pragma unroll
    for (int slab = 0; slab < C::kSlabs; ++slab) block_mask |= shared.slab_masks[slab];

    const Chunks chunks(args, first_offset, C::kChunk);
    const int steps = chunks.total(block_mask);
    Step next{block_mask, 0}, now{block_mask, 0};
    const auto load_step = [&](int i) {
      if (i < steps) {
        load<C>(args, shared, i % kStages, next, first_offset, first_column, slab_mask);
        next.advance(chunks);
      }
      cp_async_commit();  // an empty group at the end, so that the wait below always counts alike
    };
    for (int i = 0; i < kStages - 1; ++i) load_step(i);
    for (int i = 0; i < steps; ++i) {
      cp_async_wait<kStages - 2>();
      __syncthreads();  // step i has arrived, and everybody is done with the stage filled next
      load_step(i + kStages - 1);
      if (slab_mask >> now.offset() & 1) {
        multiply_slab<C::kVectorsA, kColumns>(&shared.a[i % kStages][warp * kSlabRows * C::kChunk],
                                              shared.b[i % kStages], lane, sums);
      }
      now.advance(chunks);
    }
  }
  store_slab<kColumns>(args, first_slab_row, first_column, lane, sums);
}

template <typename C>
__global__ void __launch_bounds__(C::kThreads, C::kBlocksPerSm)
    forward_kernel(const SparseConvArguments<typename C::T> args, const Tiles<C::kRows> tiles) {
  auto& shared = *dynamic_shared<typename C::Shared>();
  const unsigned count = tiles.count(valid_rows(args.num_rows, args.shape.num_out));
  for (unsigned tile = blockIdx.x; tile < count; tile += gridDim.x) {
    convolve_tile<C>(args, shared, tiles.first_row(tile), tiles.first_column(tile));
    if constexpr (!C::kLoops) return;
  }
}

template <typename C>
cudaError_t launch(const SparseConvArguments<typename C::T>& args, cudaStream_t stream) {
  constexpr auto kernel = forward_kernel<C>;
  constexpr size_t kBytes = sizeof(typename C::Shared);
  ELITE_CUDA_TRY(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      static_cast<int>(kBytes)));
  const Tiles<C::kRows> tiles(args.shape);
  int64_t blocks = tiles.count(args.shape.num_out);
  if (C::kLoops) ELITE_CUDA_TRY(limit_blocks(args, C::kBlocksPerSm, &blocks));
  const cudaLaunchConfig_t config = launch_config(blocks, C::kThreads, stream, kBytes);
  return cudaLaunchKernelEx(&config, kernel, args, tiles);
}

template <typename T, int kSlabs>
cudaError_t launch_tiles(const SparseConvArguments<T>& args, cudaStream_t stream) {
  return launch_for_chunk(args, [&](auto chunk_bytes) {
    return launch<Config<T, kSlabs, decltype(chunk_bytes)::value>>(args, stream);
  });
}

}  // namespace

template <typename T>
cudaError_t forward_tiles_64(const SparseConvArguments<T>& args, cudaStream_t stream) {
  return launch_tiles<T, 4>(args, stream);
}

template <typename T>
cudaError_t forward_tiles_128(const SparseConvArguments<T>& args, cudaStream_t stream) {
  return launch_tiles<T, 8>(args, stream);
}

#define INSTANTIATE(T)                                                                   \
  template cudaError_t forward_tiles_64<T>(const SparseConvArguments<T>&, cudaStream_t); \
  template cudaError_t forward_tiles_128<T>(const SparseConvArguments<T>&, cudaStream_t)
INSTANTIATE(float);
INSTANTIATE(__half);
INSTANTIATE(__nv_bfloat16);
#undef INSTANTIATE

}  // namespace elite_ops::cuda::tensor_core
