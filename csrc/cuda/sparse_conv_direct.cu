// Output-stationary implicit GEMM whose gathered rows go from global memory straight into the
// operand registers of tensor-core products. A warp owns tiles of 8 output rows, a block a few
// warps and kWidth output channels. Only the weights pass through shared memory, by an asynchronous
// pipeline over all pairs of (offset that some row of the block needs, chunk of input channels). A
// warp that an offset misses neither loads nor multiplies, and each loads the rows of its next step
// into the registers that the step at hand has just read.
#include <algorithm>

#include "dynamic_shared.cuh"
#include "launch.cuh"
#include "sparse_conv_direct.cuh"
#include "sparse_conv_mma.cuh"
#include "sparse_conv_slab.cuh"

namespace elite_ops::cuda::tensor_core {
namespace {

// kRowTiles: of 8 rows, of a warp. kPanels: of kColumns output channels. kChunkBytes: of a row of
// features that one step multiplies. kWarpsAtOnce: on a multiprocessor, what registers allow.
template <typename Element, int kWarps_, int kRowTiles_, int kPanels_, int kWarpsAtOnce,
          int kChunkBytes_>
struct Config {
  using T = Element;
  static constexpr int kWarps = kWarps_;
  static constexpr int kRowTiles = kRowTiles_;
  static constexpr int kPanels = kPanels_;
  static constexpr int kChunkBytes = kChunkBytes_;
  static constexpr int kThreads = kWarps * 32;
  static constexpr int kWarpRows = kRowTiles * 8;
  static constexpr int kRows = kWarps * kWarpRows;
  static constexpr int kWidth = kPanels * kColumns;
  static constexpr int kChunk = kChunkBytes / static_cast<int>(sizeof(T));
  static constexpr int kStages = 4;  // chunks of weights in flight or in use
  static constexpr int kBlocksAtOnce = kWarpsAtOnce / kWarps;

  using Rows = GatheredRowTiles<T, kRowTiles, kChunkBytes>;
  using Weights = WeightPanels<T, kPanels, kChunkBytes, kThreads>;

  union alignas(16) Warp {
    int32_t rows[1 + kOffsets][kWarpRows];  // those of the first offset are all missing
    float sums[sizeof(T) == 4 ? Turned::kElements : 1];  // when all is multiplied
  };
  struct alignas(128) Shared {
    T weights[kStages][Weights::kElements];
    Warp warps[kWarps];
    uint32_t masks[kWarps];
  };
};

template <typename C>
__device__ __forceinline__ void convolve_tile(const SparseConvArguments<typename C::T>& args,
                                              const ChunkedShape& shape, typename C::Shared& shared,
                                              int64_t first_row, int first_column) {
  constexpr int kStages = C::kStages;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int64_t first_warp_row = first_row + warp * C::kWarpRows;
  const typename C::Weights weights(shape, first_column);
  auto& rows_of = shared.warps[warp].rows;
  __syncwarp();  // the sums of the tile before have been taken
  if (lane < C::kWarpRows) rows_of[0][lane] = -1;
  float sums[C::kPanels * kTilesPerPanel][C::kRowTiles][4] = {};

  for (int first_offset = 0; first_offset < shape.offsets; first_offset += kOffsets) {
    __syncthreads();  // the batch or the tile before is done with the rows and the masks
    const uint32_t mask =
        fetch_table<C::kWarpRows>(args, shape, first_warp_row, first_offset, lane, &rows_of[1]);
    if (lane == 0) shared.masks[warp] = mask;
    __syncthreads();
    uint32_t block_mask = 0;
#pragma unroll
    for (int w = 0; w < C::kWarps; ++w) block_mask |= shared.masks[w];

    const StepCounter counter(shape, first_offset);
    const int steps = counter.steps_before(block_mask, {0, 0});
    Cursor next{block_mask, 0}, mine{mask, 0};
    const auto load_weights = [&](int i) {
      if (i < steps) {
        weights.load(counter.weight(args, first_offset, next), shared.weights[i % kStages]);
        counter.advance(next);
      }
      cp_async_commit();  // an empty group at the end, so that the wait below always counts alike
    };
    // Of this warp's next two steps: the rows, and the numbers of the steps.
    typename C::Rows even, odd;
    int even_step, odd_step;
    const auto aim = [&](typename C::Rows& rows, int& step) {
      int32_t found[C::kRowTiles];
#pragma unroll
      for (int tile = 0; tile < C::kRowTiles; ++tile) {
        found[tile] = rows_of[mine.place()][tile * 8 + lane / 4];
      }
      rows.aim(counter.features(args, mine), counter.row_bytes(mine), found, 0x80000000u, lane);
      step = counter.steps_before(block_mask, mine);
      counter.advance(mine);
    };
    for (int i = 0; i < kStages - 1; ++i) load_weights(i);
    aim(even, even_step);
    even.load_all();
    aim(odd, odd_step);
    odd.load_all();
    for (int i = 0; i < steps; ++i) {
      cp_async_wait<kStages - 2>();
      __syncthreads();  // step i has arrived, and everybody is done with the stage filled next
      load_weights(i + kStages - 1);
      if (i == even_step) {
        aim(even, even_step);
        multiply_step<C::kPanels>(even, shared.weights[i % kStages], lane, sums);
      } else if (i == odd_step) {
        aim(odd, odd_step);
        multiply_step<C::kPanels>(odd, shared.weights[i % kStages], lane, sums);
      }
    }
  }
  if constexpr (sizeof(typename C::T) == 2) {
    const int64_t num_rows = valid_rows(args.num_rows, args.shape.num_out);
#pragma unroll
    for (int panel = 0; panel < C::kPanels; ++panel) {
      store_turned(args, num_rows, first_warp_row, first_column + panel * kColumns, lane,
                   panel_of<C::kRowTiles>(sums, panel));
    }
  } else {
    store_tiles<C::kPanels>(args, first_warp_row, first_column, lane,
                            Turned(shared.warps[warp].sums), sums);
  }
}

template <typename C>
__global__ void __launch_bounds__(C::kThreads, C::kBlocksAtOnce)
    direct_kernel(const SparseConvArguments<typename C::T> args, const ChunkedShape shape,
                  const Tiles<C::kRows, C::kWidth> tiles) {
  auto& shared = *dynamic_shared<typename C::Shared>();
  const unsigned count = tiles.count(valid_rows(args.num_rows, args.shape.num_out));
  for (unsigned tile = blockIdx.x; tile < count; tile += gridDim.x) {
    convolve_tile<C>(args, shape, shared, tiles.first_row(tile), tiles.first_column(tile));
  }
}

template <typename C>
cudaError_t launch(const SparseConvArguments<typename C::T>& args, cudaStream_t stream) {
  constexpr auto kernel = direct_kernel<C>;
  constexpr size_t kBytes = kDynamicSharedBytes<typename C::Shared>;
  ELITE_CUDA_TRY(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      static_cast<int>(kBytes)));
  const Tiles<C::kRows, C::kWidth> tiles(args.shape);
  int64_t blocks = tiles.count(args.shape.num_out);
  ELITE_CUDA_TRY(limit_blocks(args, C::kBlocksAtOnce, &blocks));
  const cudaLaunchConfig_t config = launch_config(blocks, C::kThreads, stream, kBytes);
  return cudaLaunchKernelEx(&config, kernel, args, ChunkedShape(args, C::kChunk), tiles);
}

}  // namespace

template <typename T, int kWarps, int kRowTiles, int kPanels, int kWarpsAtOnce>
cudaError_t forward_direct(const SparseConvArguments<T>& args, cudaStream_t stream) {
  return launch_for_chunk(args, [&](auto chunk_bytes) {
    constexpr int kChunkBytes = decltype(chunk_bytes)::value;
    return launch<Config<T, kWarps, kRowTiles, kPanels, kWarpsAtOnce, kChunkBytes>>(args, stream);
  });
}

#define INSTANTIATE(T, ...) \
  template cudaError_t forward_direct<T, __VA_ARGS__>(const SparseConvArguments<T>&, cudaStream_t)
INSTANTIATE(float, 4, 4, 1, 8);
INSTANTIATE(__half, 4, 2, 1, 16);
INSTANTIATE(__half, 4, 2, 1, 12);
INSTANTIATE(__half, 4, 4, 1, 12);
INSTANTIATE(__half, 8, 2, 1, 16);
INSTANTIATE(__half, 4, 4, 2, 8);
INSTANTIATE(__nv_bfloat16, 4, 2, 1, 16);
INSTANTIATE(__nv_bfloat16, 4, 4, 1, 12);
#undef INSTANTIATE

}  // namespace elite_ops::cuda::tensor_core
