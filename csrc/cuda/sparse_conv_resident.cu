// Sparse convolution with the weights of all offsets, for a few output channels, resident in the
// shared memory of persistent blocks. Nothing but the gathered rows moves in the main loop, so each
// warp walks slabs of 16 rows alone, with a pipeline of its own, and no warp waits for another: an
// offset that misses a slab costs nothing at all.
#include <algorithm>

#include "dynamic_shared.cuh"
#include "launch.cuh"
#include "sparse_conv_mma.cuh"
#include "sparse_conv_slab.cuh"

namespace elite_ops::cuda::tensor_core {
namespace {

constexpr int kWarps = 8;
constexpr int kStages = 4;  // chunks in flight or in use, per warp

// kWidth: the output channels of a block. kChunkBytes: the part of a row that one stage holds.
template <typename Element, int kWidth_, int kChunkBytes>
struct Config {
  using T = Element;
  static constexpr int kWidth = kWidth_;
  static constexpr int kChunk = kChunkBytes / sizeof(T);
  static constexpr int kVectorsA = kChunkBytes / 16;
  static constexpr int kVectorsB = kWidth / kPerVector<T>;

  struct Warp {
    T a[kStages][kSlabRows * kChunk];
    int32_t rows[kOffsets][kSlabRows];
  };
  // The weights [weight_rows(args), kWidth] follow.
  static constexpr size_t kWarpBytes = kWarps * sizeof(Warp);
};

// The weights of all offsets, one below the other, and those of the shortcut.
template <typename T>
ELITE_HOST_DEVICE int64_t weight_rows(const SparseConvArguments<T>& args) {
  return args.shape.num_offsets * args.shape.c_in + args.shortcut.channels;
}

template <typename C>
__device__ void load_weights(const SparseConvArguments<typename C::T>& args, int64_t first_column,
                             typename C::T* weights) {
  using T = typename C::T;
  const int shortcut_row = static_cast<int>(args.shape.num_offsets * args.shape.c_in);
  const int vectors = static_cast<int>(weight_rows(args)) * C::kVectorsB;
  for (int e = static_cast<int>(threadIdx.x); e < vectors; e += kWarps * 32) {
    const int row = e / C::kVectorsB, place = e % C::kVectorsB * kPerVector<T>;
    const T* from = row < shortcut_row
                        ? args.weight + row * args.shape.c_out
                        : args.shortcut.weight + (row - shortcut_row) * args.shape.c_out;
    const int64_t column = first_column + place;
    const bool exists = column < args.shape.c_out;
    cp_async_16(&weights[element<T, C::kWidth>(row, place)], from + (exists ? column : 0), exists);
  }
  cp_async_commit();
  cp_async_wait<0>();
}

// One slab, by one warp.
template <typename C>
__device__ __forceinline__ void convolve_slab(const SparseConvArguments<typename C::T>& args,
                                              typename C::Warp& warp, const typename C::T* weights,
                                              int64_t first_row, int64_t first_column, int lane) {
  const Chunks chunks(args, 0, C::kChunk);
  float sums[C::kWidth / 8][4] = {};
  const uint32_t mask = fetch_rows<kSlabRows>(args, first_row, 0, lane, warp.rows[0]);
  __syncwarp();  // the rows are there, and everybody is done with the stages of the slab before

  const int steps = chunks.total(mask);
  Step next{mask, 0}, now{mask, 0};
  const auto load_step = [&](int i) {
    if (i < steps) {
      load_slab<C::kVectorsA>(operand(args, next.offset()), warp.rows[next.offset()],
                              int64_t{next.chunk} * C::kChunk, lane, warp.a[i % kStages]);
      next.advance(chunks);
    }
    cp_async_commit();  // an empty group at the end, so that the wait below always counts alike
  };
  for (int i = 0; i < kStages - 1; ++i) load_step(i);
  for (int i = 0; i < steps; ++i) {
    cp_async_wait<kStages - 2>();
    __syncwarp();  // step i has arrived, and everybody is done with the stage filled next
    load_step(i + kStages - 1);
    const int64_t weight_row = now.offset() * args.shape.c_in + now.chunk * C::kChunk;
    multiply_slab<C::kVectorsA, C::kWidth>(warp.a[i % kStages], weights + weight_row * C::kWidth,
                                           lane, sums);
    now.advance(chunks);
  }
  store_slab<C::kWidth>(args, first_row, first_column, lane, sums);
}

template <typename C>
__global__ void __launch_bounds__(kWarps * 32, 1)
    resident_kernel(const SparseConvArguments<typename C::T> args, int64_t column_tiles) {
  auto* warps = dynamic_shared<typename C::Warp>();
  auto* weights = reinterpret_cast<typename C::T*>(warps + kWarps);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t num_rows = valid_rows(args.num_rows, args.shape.num_out);
  const int64_t slabs = (num_rows + kSlabRows - 1) / kSlabRows;
  const int64_t first_slab = blockIdx.x / column_tiles * kWarps;
  if (first_slab >= slabs) return;
  const int64_t first_column = blockIdx.x % column_tiles * C::kWidth;
  load_weights<C>(args, first_column, weights);
  __syncthreads();
  const int64_t workers = gridDim.x / column_tiles * kWarps;
  for (int64_t slab = first_slab + warp; slab < slabs; slab += workers) {
    convolve_slab<C>(args, warps[warp], weights, slab * kSlabRows, first_column, lane);
  }
}

// As many blocks as fit on the device at once, unless there is less to do.
template <typename C>
cudaError_t launch(const SparseConvArguments<typename C::T>& args, cudaStream_t stream) {
  constexpr auto kernel = resident_kernel<C>;
  const size_t bytes = C::kWarpBytes + weight_rows(args) * C::kWidth * sizeof(typename C::T);
  int device = 0, available = 0, multiprocessors = 0, blocks_each = 0;
  ELITE_CUDA_TRY(cudaGetDevice(&device));
  ELITE_CUDA_TRY(
      cudaDeviceGetAttribute(&available, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  if (bytes > static_cast<size_t>(available)) return cudaErrorInvalidValue;
  ELITE_CUDA_TRY(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
  // The most, not `bytes`: another thread may be launching it with more than this one needs.
  ELITE_CUDA_TRY(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, available));
  ELITE_CUDA_TRY(
      cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks_each, kernel, kWarps * 32, bytes));
  const int64_t column_tiles = (args.shape.c_out + C::kWidth - 1) / C::kWidth;
  const int64_t fitting = int64_t{multiprocessors} * blocks_each / column_tiles;
  const int64_t wanted = (args.shape.num_out + kSlabRows * kWarps - 1) / (kSlabRows * kWarps);
  const int64_t row_blocks = std::max<int64_t>(1, std::min(fitting, wanted));
  const cudaLaunchConfig_t config =
      launch_config(row_blocks * column_tiles, kWarps * 32, stream, bytes);
  return cudaLaunchKernelEx(&config, kernel, args, column_tiles);
}

template <typename T, int kWidth>
cudaError_t launch_width(const SparseConvArguments<T>& args, cudaStream_t stream) {
  return launch_for_chunk(args, [&](auto chunk_bytes) {
    return launch<Config<T, kWidth, decltype(chunk_bytes)::value>>(args, stream);
  });
}

}  // namespace

template <typename T>
cudaError_t forward_resident(const SparseConvArguments<T>& args, cudaStream_t stream) {
  if (offsets_of(args) > kOffsets) return cudaErrorInvalidValue;
  if (args.shape.c_out <= 16) return launch_width<T, 16>(args, stream);
  return launch_width<T, 32>(args, stream);
}

template cudaError_t forward_resident<__half>(const SparseConvArguments<__half>&, cudaStream_t);
template cudaError_t forward_resident<__nv_bfloat16>(const SparseConvArguments<__nv_bfloat16>&,
                                                     cudaStream_t);

}  // namespace elite_ops::cuda::tensor_core
