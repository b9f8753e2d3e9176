// Output-stationary implicit GEMM. A block owns kRows output rows and 64 output channels; a warp
// owns a slab of 16 of the rows, the height of an mma. One asynchronous pipeline runs over all
// pairs of (offset that some row of the block needs, chunk of input channels) without draining in
// between; the rows to gather are in shared memory before it starts. A slab that an offset does not
// meet neither loads nor multiplies.
#include "dynamic_shared.cuh"
#include "launch.cuh"
#include "mma.cuh"
#include "sparse_conv_mma.cuh"
#include "sparse_conv_rows.cuh"
#include "sparse_conv_tile.cuh"

namespace elite_ops::cuda::tensor_core {
namespace {

constexpr int kStages = 3;    // chunks in flight or in use
constexpr int kOffsets = 32;  // offsets whose rows are in shared memory at a time

// kChunkBytes: the part of a row of features that one stage holds.
template <typename Element, int kSlabs_, int kChunkBytes>
struct Config {
  using T = Element;
  static constexpr int kSlabs = kSlabs_;
  static constexpr int kRows = kSlabs * kSlabRows;
  static constexpr int kThreads = kSlabs * 32;
  static constexpr int kBlocksPerSm = kSlabs == 4 ? 3 : 2;  // what shared memory allows on sm_90
  static constexpr int kChunk = kChunkBytes / sizeof(T);
  static constexpr int kVectorsA = kChunkBytes / 16;

  struct Shared {
    T a[kStages][kRows * kChunk];
    T b[kStages][kChunk * kColumns];
    int32_t rows[kOffsets][kRows];
    uint32_t slab_masks[kSlabs];
  };
};

template <typename T>
struct Arguments {
  SparseConvShape shape;
  const T* features;
  const T* weight;
  const int32_t* neighbors;
  SparseConvEpilogue<T, float> epilogue;
  int64_t column_tiles;
  T* out;
  int32_t* error_flag;
};

// One step of the pipeline: a chunk of input channels under one of the batch's offsets.
struct Step {
  uint32_t remaining;  // the offsets from this one on, as bits
  int chunk;

  __device__ int offset() const { return __ffs(static_cast<int>(remaining)) - 1; }
  __device__ void advance(int chunks) {
    if (++chunk < chunks) return;
    chunk = 0;
    remaining &= remaining - 1;
  }
};

// Fetches the rows of this warp's slab under up to kOffsets offsets; bit o of the result says
// whether offset first_offset + o meets any of them.
template <typename C>
__device__ __forceinline__ uint32_t fetch_rows(const Arguments<typename C::T>& args,
                                               typename C::Shared& shared, int64_t first_row,
                                               int64_t first_offset, int warp, int lane) {
  uint32_t mask = 0;
#pragma unroll
  for (int o = 0; o < kOffsets; o += 2) {  // two offsets at a time, one in each half of the warp
    const int offset = o + lane / kSlabRows, slab_row = warp * kSlabRows + lane % kSlabRows;
    const int64_t k = first_offset + offset;
    int32_t row = -1;
    if (k < args.shape.num_offsets) {
      row = neighbor_row(args.shape, args.neighbors, k, first_row + slab_row, args.error_flag);
    }
    shared.rows[offset][slab_row] = row;
    const unsigned valid = __ballot_sync(0xffffffffu, row >= 0);
    if (valid & 0xffffu) mask |= 1u << o;
    if (valid >> 16) mask |= 2u << o;
  }
  return mask;
}

// Starts the copies of one step: this warp's rows, unless the offset misses them all, and its share
// of the weights.
template <typename C>
__device__ __forceinline__ void load(const Arguments<typename C::T>& args,
                                     typename C::Shared& shared, int stage, const Step& step,
                                     int64_t first_offset, int64_t first_column,
                                     uint32_t slab_mask) {
  using T = typename C::T;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  const int offset = step.offset();
  const int64_t first_channel = int64_t{step.chunk} * C::kChunk;
  if (slab_mask >> offset & 1) {
#pragma unroll
    for (int e = lane; e < kSlabRows * C::kVectorsA; e += 32) {
      const int row = warp * kSlabRows + e / C::kVectorsA, vector = e % C::kVectorsA;
      const int32_t from = shared.rows[offset][row];
      cp_async_16(&shared.a[stage][swizzled<C::kVectorsA>(row, vector) * kPerVector<T>],
                  args.features + (from < 0 ? 0 : from) * args.shape.c_in + first_channel +
                      vector * kPerVector<T>,
                  from >= 0);
    }
  }
  const auto* weight =
      args.weight + ((first_offset + offset) * args.shape.c_in + first_channel) * args.shape.c_out;
#pragma unroll
  for (int e = thread; e < C::kChunk * kVectors<T>; e += C::kThreads) {
    const int row = e / kVectors<T>, vector = e % kVectors<T>;
    const int64_t column = first_column + vector * kPerVector<T>;
    const bool exists = column < args.shape.c_out;
    cp_async_16(&shared.b[stage][element<T>(row, vector * kPerVector<T>)],
                weight + row * args.shape.c_out + (exists ? column : 0), exists);
  }
}

// Multiplies one stage into the sums of this warp's slab.
template <typename C>
__device__ __forceinline__ void multiply(const typename C::Shared& shared, int stage, int warp,
                                         int lane, float (&sums)[kTilesPerSlab][4]) {
  using T = typename C::T;
#pragma unroll 2
  for (int part = 0; part < C::kVectorsA / 2; ++part) {
    const int row = warp * kSlabRows + lane % 16, vector = part * 2 + lane / 16;
    uint32_t a[4];
    ldmatrix_x4(a, &shared.a[stage][swizzled<C::kVectorsA>(row, vector) * kPerVector<T>]);
    if constexpr (sizeof(T) == 4) {
#pragma unroll
      for (uint32_t& word : a) word = to_tf32(__uint_as_float(word));
    }
    multiply_part<T>(a, shared.b[stage], part, lane, sums);
  }
}

template <typename C>
__device__ __forceinline__ void store(const Arguments<typename C::T>& args, int64_t first_row,
                                      int64_t first_column, int lane,
                                      const float (&sums)[kTilesPerSlab][4]) {
  using T = typename C::T;
  struct alignas(2 * sizeof(T)) Pair {
    T first, second;
  };
#pragma unroll
  for (int tile = 0; tile < kTilesPerSlab; ++tile) {
    const int64_t column = first_column + tile * 8 + lane % 4 * 2;
    if (column >= args.shape.c_out) continue;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t row = first_row + lane / 4 + half * 8;
      if (row >= args.shape.num_out) continue;
      const auto finish = [&](int i) {
        return static_cast<T>(apply_epilogue<T>(args.shape, args.epilogue, row, column + i,
                                                sums[tile][half * 2 + i]));
      };
      *reinterpret_cast<Pair*>(args.out + row * args.shape.c_out + column) = {finish(0), finish(1)};
    }
  }
}

template <typename C>
__global__ void __launch_bounds__(C::kThreads, C::kBlocksPerSm)
    forward_kernel(const Arguments<typename C::T> args) {
  auto& shared = *dynamic_shared<typename C::Shared>();
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t first_row = blockIdx.x / args.column_tiles * C::kRows;
  const int64_t first_column = blockIdx.x % args.column_tiles * kColumns;
  const int chunks = static_cast<int>(args.shape.c_in / C::kChunk);
  float sums[kTilesPerSlab][4] = {};

  for (int64_t first_offset = 0; first_offset < args.shape.num_offsets; first_offset += kOffsets) {
    __syncthreads();  // the batch before is done with the rows and the masks
    const uint32_t slab_mask = fetch_rows<C>(args, shared, first_row, first_offset, warp, lane);
    if (lane == 0) shared.slab_masks[warp] = slab_mask;
    __syncthreads();
    uint32_t block_mask = 0;
#pragma unroll
    for (int slab = 0; slab < C::kSlabs; ++slab) block_mask |= shared.slab_masks[slab];

    const int steps = __popc(block_mask) * chunks;
    Step next{block_mask, 0}, now{block_mask, 0};
    int loaded = 0;
    const auto load_next = [&] {
      if (loaded < steps) {
        load<C>(args, shared, loaded % kStages, next, first_offset, first_column, slab_mask);
        next.advance(chunks);
      }
      ++loaded;
      cp_async_commit();  // an empty group at the end, so that the wait below always counts alike
    };
    for (int i = 0; i < kStages - 1; ++i) load_next();
    for (int i = 0; i < steps; ++i) {
      cp_async_wait<kStages - 2>();
      __syncthreads();  // step i has arrived, and everybody is done with the stage filled next
      load_next();
      if (slab_mask >> now.offset() & 1) multiply<C>(shared, i % kStages, warp, lane, sums);
      now.advance(chunks);
    }
  }
  store<C>(args, first_row + warp * kSlabRows, first_column, lane, sums);
}

template <typename C>
cudaError_t launch(Arguments<typename C::T> args, cudaStream_t stream) {
  constexpr auto kernel = forward_kernel<C>;
  constexpr size_t kBytes = sizeof(typename C::Shared);
  ELITE_CUDA_TRY(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      static_cast<int>(kBytes)));
  const int64_t row_tiles = (args.shape.num_out + C::kRows - 1) / C::kRows;
  const cudaLaunchConfig_t config =
      launch_config(row_tiles * args.column_tiles, C::kThreads, stream, kBytes);
  return cudaLaunchKernelEx(&config, kernel, args);
}

template <typename T, int kSlabs>
cudaError_t launch_for_chunk(const Arguments<T>& args, cudaStream_t stream) {
  const int64_t row_bytes = args.shape.c_in * sizeof(T);
  if (row_bytes % 128 == 0) return launch<Config<T, kSlabs, 128>>(args, stream);
  if (row_bytes % 64 == 0) return launch<Config<T, kSlabs, 64>>(args, stream);
  return launch<Config<T, kSlabs, 32>>(args, stream);
}

}  // namespace

template <typename T>
cudaError_t forward(const SparseConvShape& shape, const T* features, const T* weight,
                    const int32_t* neighbors, const SparseConvEpilogue<T, float>& epilogue, T* out,
                    int32_t* error_flag, cudaStream_t stream) {
  const int64_t column_tiles = (shape.c_out + kColumns - 1) / kColumns;
  const Arguments<T> args{shape,    features,     weight, neighbors,
                          epilogue, column_tiles, out,    error_flag};
  // Large blocks read the weights less often; small ones spread few rows over more SMs.
  constexpr int64_t kManyRows = 32 * 1024;
  if (shape.num_out * column_tiles >= kManyRows) return launch_for_chunk<T, 8>(args, stream);
  return launch_for_chunk<T, 4>(args, stream);
}

#define INSTANTIATE(T)                                                                        \
  template cudaError_t forward<T>(const SparseConvShape&, const T*, const T*, const int32_t*, \
                                  const SparseConvEpilogue<T, float>&, T*, int32_t*, cudaStream_t)
INSTANTIATE(float);
INSTANTIATE(__half);
INSTANTIATE(__nv_bfloat16);
#undef INSTANTIATE

}  // namespace elite_ops::cuda::tensor_core
