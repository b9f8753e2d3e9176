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
  // The weights [K * c_in, kWidth] follow.
  static constexpr size_t kWarpBytes = kWarps * sizeof(Warp);
};

template <typename C>
__device__ void load_weights(const Arguments<typename C::T>& args, int64_t first_column,
                             typename C::T* weights) {
  using T = typename C::T;
  const int vectors = static_cast<int>(args.shape.num_offsets * args.shape.c_in) * C::kVectorsB;
  for (int e = static_cast<int>(threadIdx.x); e < vectors; e += kWarps * 32) {
    const int row = e / C::kVectorsB, place = e % C::kVectorsB * kPerVector<T>;
    const int64_t column = first_column + place;
    const bool exists = column < args.shape.c_out;
    cp_async_16(&weights[element<T, C::kWidth>(row, place)],
                args.weight + row * args.shape.c_out + (exists ? column : 0), exists);
  }
  cp_async_commit();
  cp_async_wait<0>();
}

// One slab, by one warp.
template <typename C>
__device__ __forceinline__ void convolve_slab(const Arguments<typename C::T>& args,
                                              typename C::Warp& warp, const typename C::T* weights,
                                              int64_t first_row, int64_t first_column, int lane) {
  const int chunks = static_cast<int>(args.shape.c_in / C::kChunk);
  float sums[C::kWidth / 8][4] = {};
  const uint32_t mask = fetch_rows<kSlabRows>(args, first_row, 0, lane, warp.rows[0]);
  __syncwarp();  // the rows are there, and everybody is done with the stages of the slab before

  const int steps = __popc(mask) * chunks;
  Step next{mask, 0}, now{mask, 0};
  int loaded = 0;
  const auto load_next = [&] {
    if (loaded < steps) {
      load_slab<C::kVectorsA>(args, warp.rows[next.offset()], int64_t{next.chunk} * C::kChunk, lane,
                              warp.a[loaded % kStages]);
      next.advance(chunks);
    }
    ++loaded;
    cp_async_commit();  // an empty group at the end, so that the wait below always counts alike
  };
  for (int i = 0; i < kStages - 1; ++i) load_next();
  for (int i = 0; i < steps; ++i) {
    cp_async_wait<kStages - 2>();
    __syncwarp();  // step i has arrived, and everybody is done with the stage filled next
    load_next();
    const int64_t weight_row = now.offset() * args.shape.c_in + now.chunk * C::kChunk;
    multiply_slab<C::kVectorsA, C::kWidth>(warp.a[i % kStages], weights + weight_row * C::kWidth,
                                           lane, sums);
    now.advance(chunks);
  }
  store_slab<C::kWidth>(args, first_row, first_column, lane, sums);
}

template <typename C>
__global__ void __launch_bounds__(kWarps * 32, 1)
    resident_kernel(const Arguments<typename C::T> args) {
  auto* warps = dynamic_shared<typename C::Warp>();
  auto* weights = reinterpret_cast<typename C::T*>(warps + kWarps);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t first_column = blockIdx.x % args.column_tiles * C::kWidth;
  load_weights<C>(args, first_column, weights);
  __syncthreads();
  const int64_t workers = gridDim.x / args.column_tiles * kWarps;
  const int64_t slabs = (args.shape.num_out + kSlabRows - 1) / kSlabRows;
  for (int64_t slab = blockIdx.x / args.column_tiles * kWarps + warp; slab < slabs;
       slab += workers) {
    convolve_slab<C>(args, warps[warp], weights, slab * kSlabRows, first_column, lane);
  }
}

// As many blocks as fit on the device at once, unless there is less to do.
template <typename C>
cudaError_t launch(Arguments<typename C::T> args, cudaStream_t stream) {
  constexpr auto kernel = resident_kernel<C>;
  const size_t bytes =
      C::kWarpBytes + args.shape.num_offsets * args.shape.c_in * C::kWidth * sizeof(typename C::T);
  int device = 0, available = 0, multiprocessors = 0, blocks_each = 0;
  ELITE_CUDA_TRY(cudaGetDevice(&device));
  ELITE_CUDA_TRY(
      cudaDeviceGetAttribute(&available, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  if (bytes > static_cast<size_t>(available)) return cudaErrorInvalidValue;
  ELITE_CUDA_TRY(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
  ELITE_CUDA_TRY(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      static_cast<int>(bytes)));
  ELITE_CUDA_TRY(
      cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks_each, kernel, kWarps * 32, bytes));
  args.column_tiles = (args.shape.c_out + C::kWidth - 1) / C::kWidth;
  const int64_t fitting = int64_t{multiprocessors} * blocks_each / args.column_tiles;
  const int64_t wanted = (args.shape.num_out + kSlabRows * kWarps - 1) / (kSlabRows * kWarps);
  const int64_t row_blocks = std::max<int64_t>(1, std::min(fitting, wanted));
  const cudaLaunchConfig_t config =
      launch_config(row_blocks * args.column_tiles, kWarps * 32, stream, bytes);
  return cudaLaunchKernelEx(&config, kernel, args);
}

template <typename T, int kWidth>
cudaError_t launch_width(const Arguments<T>& args, cudaStream_t stream) {
  return launch_for_chunk<T>(args.shape, [&](auto chunk_bytes) {
    return launch<Config<T, kWidth, decltype(chunk_bytes)::value>>(args, stream);
  });
}

}  // namespace

template <typename T>
cudaError_t forward_resident(const Arguments<T>& args, cudaStream_t stream) {
  if (args.shape.num_offsets > kOffsets) return cudaErrorInvalidValue;
  if (args.shape.c_out <= 16) return launch_width<T, 16>(args, stream);
  return launch_width<T, 32>(args, stream);
}

template cudaError_t forward_resident<__half>(const Arguments<__half>&, cudaStream_t);
template cudaError_t forward_resident<__nv_bfloat16>(const Arguments<__nv_bfloat16>&, cudaStream_t);

}  // namespace elite_ops::cuda::tensor_core
