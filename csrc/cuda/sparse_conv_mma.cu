// Output-stationary implicit GEMM whose gathered rows go from global memory straight into the
// operand registers of tensor-core products. A warp owns tiles of 8 output rows, a block a few
// warps and kColumns output channels. Only the weights pass through shared memory, by an
// asynchronous pipeline over all pairs of (offset that some row of the block needs, chunk of input
// channels). A warp that an offset misses neither loads nor multiplies, and each loads the rows of
// its next step into the registers that the step at hand has just read.
#include <algorithm>
#include <type_traits>

#include "dynamic_shared.cuh"
#include "launch.cuh"
#include "sparse_conv_mma.cuh"
#include "sparse_conv_store.cuh"
#include "sparse_conv_table.cuh"

namespace elite_ops::cuda::tensor_core {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = kWarps * 32;
constexpr int kStages = 4;  // chunks of weights in flight or in use

// kWarpRows_: of a warp. kChunkBytes_: of a row of features, that one step multiplies.
template <typename Element, int kWarpRows_, int kChunkBytes_>
struct Config {
  using T = Element;
  static constexpr int kWarpRows = kWarpRows_;
  static constexpr int kRowTiles = kWarpRows / kTileRows;
  static constexpr int kRows = kWarps * kWarpRows;
  static constexpr int kChunk = kChunkBytes_ / static_cast<int>(sizeof(T));
  // On a multiprocessor, as registers allow.
  static constexpr int kWarpsAtOnce = sizeof(T) == 4 ? 12 : 16;
  static constexpr int kBlocksAtOnce = kWarpsAtOnce / kWarps;

  using Rows = GatheredRowTiles<T, kRowTiles, kChunkBytes_>;
  using Weights = WeightPanel<T, kChunkBytes_, kThreads>;

  struct alignas(16) Shared {
    T weights[kStages][Weights::kElements];
    int32_t rows[kWarps][1 + kOffsets][kWarpRows];  // those of the first offset are all missing
    uint32_t masks[kWarps];
  };
};

// The output, cut into tiles of kRows x kColumns.
template <int kRows>
struct Tiles {
  unsigned across;  // side by side

  explicit Tiles(const SparseConvShape& shape)
      : across(static_cast<unsigned>((shape.c_out + kColumns - 1) / kColumns)) {}
  ELITE_HOST_DEVICE unsigned count(int64_t rows) const {
    return static_cast<unsigned>((rows + kRows - 1) / kRows) * across;
  }
  __device__ __forceinline__ int64_t first_row(unsigned tile) const {
    return int64_t{tile / across} * kRows;
  }
  __device__ __forceinline__ int first_column(unsigned tile) const {
    return static_cast<int>(tile % across) * kColumns;
  }
};

// A step of a warp: its rows, and its number among the steps of the block.
template <typename C>
struct WarpStep {
  typename C::Rows rows;
  int number;

  // Starts to read what `cursor` names, and moves that on.
  __device__ __forceinline__ void aim(const SparseConvArguments<typename C::T>& args,
                                      const StepCounter& counter, uint32_t block_mask,
                                      const int32_t (*rows_of)[C::kWarpRows], Cursor& cursor,
                                      int lane) {
    int32_t found[C::kRowTiles];
#pragma unroll
    for (int tile = 0; tile < C::kRowTiles; ++tile) {
      found[tile] = rows_of[cursor.place()][tile * kTileRows + lane / kQuad];
    }
    rows.aim(counter.features(args, cursor), counter.row_bytes(cursor), found, lane);
    number = counter.steps_before(block_mask, cursor);
    counter.advance(cursor);
  }
};

template <typename C>
__device__ __forceinline__ void convolve_tile(const SparseConvArguments<typename C::T>& args,
                                              const ChunkedShape& shape, typename C::Shared& shared,
                                              int64_t first_row, int first_column) {
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  const int64_t first_warp_row = first_row + warp * C::kWarpRows;
  const typename C::Weights weights(shape, first_column);
  auto& rows_of = shared.rows[warp];
  if (lane < C::kWarpRows) rows_of[0][lane] = -1;
  PanelSums<C::kRowTiles> sums = {};

  for (int first_offset = 0; first_offset < shape.offsets; first_offset += kOffsets) {
    __syncthreads();  // the batch or the tile before is done with the rows and the masks
    const uint32_t mask =
        fetch_table<C::kWarpRows>(args, shape, first_warp_row, first_offset, lane, &rows_of[1]);
    if (lane == 0) shared.masks[warp] = mask;
    __syncthreads();
    uint32_t block_mask = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) block_mask |= shared.masks[w];

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
    WarpStep<C> own;  // this warp's next
    const auto aim = [&] { own.aim(args, counter, block_mask, rows_of, mine, lane); };
    for (int i = 0; i < kStages - 1; ++i) load_weights(i);
    aim();
    own.rows.load_all();
    for (int i = 0; i < steps; ++i) {
      cp_async_wait<kStages - 2>();
      __syncthreads();  // step i has arrived, and everybody is done with the stage filled next
      load_weights(i + kStages - 1);
      if (i == own.number) {
        aim();
        multiply_step(own.rows, shared.weights[i % kStages], lane, sums);
      }
    }
  }
  WarpOutput<typename C::T, C::kRowTiles>(args, first_warp_row, first_column, lane).finish(sums);
}

template <typename C>
__global__ void __launch_bounds__(kThreads, C::kBlocksAtOnce)
    forward_kernel(const SparseConvArguments<typename C::T> args, const ChunkedShape shape,
                   const Tiles<C::kRows> tiles) {
  auto& shared = *dynamic_shared<typename C::Shared>();
  const unsigned count = tiles.count(valid_rows(args.num_rows, args.shape.num_out));
  for (unsigned tile = blockIdx.x; tile < count; tile += gridDim.x) {
    convolve_tile<C>(args, shape, shared, tiles.first_row(tile), tiles.first_column(tile));
  }
}

// Cuts the number of blocks, one for each tile, in a padded buffer: most tiles may hold no valid
// row, and a block that finds nothing to do has to be started too. Leaves twice what runs at once.
template <typename C>
cudaError_t limit_blocks(const SparseConvArguments<typename C::T>& args, int64_t* blocks) {
  if (args.num_rows == nullptr) return cudaSuccess;
  int device = 0, multiprocessors = 0;
  ELITE_CUDA_TRY(cudaGetDevice(&device));
  ELITE_CUDA_TRY(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
  *blocks = std::min(*blocks, int64_t{2} * multiprocessors * C::kBlocksAtOnce);
  return cudaSuccess;
}

template <typename C>
cudaError_t launch(const SparseConvArguments<typename C::T>& args, cudaStream_t stream) {
  constexpr auto kernel = forward_kernel<C>;
  constexpr size_t kBytes = sizeof(typename C::Shared);
  ELITE_CUDA_TRY(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      static_cast<int>(kBytes)));
  const Tiles<C::kRows> tiles(args.shape);
  int64_t blocks = tiles.count(args.shape.num_out);
  ELITE_CUDA_TRY(limit_blocks<C>(args, &blocks));
  const cudaLaunchConfig_t config = launch_config(blocks, kThreads, stream, kBytes);
  return cudaLaunchKernelEx(&config, kernel, args, ChunkedShape(args, C::kChunk), tiles);
}

}  // namespace

template <typename T, int kWarpRows>
cudaError_t forward(const SparseConvArguments<T>& args, cudaStream_t stream) {
  // The largest chunk that divides the rows of both matrices of features.
  const int64_t row_bytes = (args.shape.c_in | args.shortcut.channels) * sizeof(T);
  if (row_bytes % 128 == 0) return launch<Config<T, kWarpRows, 128>>(args, stream);
  if (row_bytes % 64 == 0) return launch<Config<T, kWarpRows, 64>>(args, stream);
  return launch<Config<T, kWarpRows, 32>>(args, stream);
}

#define INSTANTIATE(T, kWarpRows) \
  template cudaError_t forward<T, kWarpRows>(const SparseConvArguments<T>&, cudaStream_t)
INSTANTIATE(float, 32);
INSTANTIATE(__half, 16);
INSTANTIATE(__half, 32);
INSTANTIATE(__nv_bfloat16, 16);
INSTANTIATE(__nv_bfloat16, 32);
#undef INSTANTIATE

}  // namespace elite_ops::cuda::tensor_core
