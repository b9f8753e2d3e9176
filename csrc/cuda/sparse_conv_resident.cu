// Sparse convolution with the weights of all offsets, for kColumns output channels, resident in the
// shared memory of one block a multiprocessor. Gathered rows go from global memory straight into
// the operand registers of tensor-core products, and row numbers into registers two steps ahead. So
// nothing but the weights is shared: each warp takes one slab of rows after the other, no warp
// waits for another once the weights have come, and an offset that misses a slab costs nothing at
// all.
#include <algorithm>

#include "dynamic_shared.cuh"
#include "launch.cuh"
#include "sparse_conv_direct.cuh"
#include "sparse_conv_mma.cuh"
#include "sparse_conv_slab.cuh"

namespace elite_ops::cuda::tensor_core {
namespace {

constexpr int kWarps = 16;
constexpr int kThreads = kWarps * 32;
constexpr int kArrivals = 4;  // the weights come in so many groups of offsets
constexpr int kOffsetsPerArrival = kOffsets / kArrivals;

// kRowTiles: of 8 rows, of a slab. kChunkBytes: of a row of features that one step multiplies.
template <typename Element, int kRowTiles_, int kChunkBytes_>
struct Config {
  using T = Element;
  static constexpr int kRowTiles = kRowTiles_;
  static constexpr int kChunkBytes = kChunkBytes_;
  static constexpr int kRows = kRowTiles * 8;
  static constexpr int kChunk = kChunkBytes / static_cast<int>(sizeof(T));

  using Rows = GatheredRowTiles<T, kRowTiles, kChunkBytes>;
  using Weights = WeightPanels<T, 1, kChunkBytes, kThreads>;

  struct alignas(128) Shared {
    unsigned next_slab;
    alignas(128) T weights[];  // of all chunks
  };
};

// The weights on their way to shared memory.
template <typename C>
class Arrival {
 public:
  __device__ __forceinline__ Arrival(const SparseConvArguments<typename C::T>& args,
                                     const ChunkedShape& shape, int first_column,
                                     typename C::T* to) {
    const typename C::Weights weights(shape, first_column);
    const StepCounter counter(shape, 0);
    Cursor cursor{all_offsets(shape.offsets), 0};
    for (int group = 0; group < kArrivals; ++group) {
      for (; cursor.remaining && cursor.place() <= (group + 1) * kOffsetsPerArrival;
           counter.advance(cursor)) {
        weights.load(counter.weight(args, 0, cursor), to);
        to += C::Weights::kElements;
      }
      cp_async_commit();
    }
  }

  // Waits until the weights of this offset are there. All warps do so for all groups once.
  __device__ __forceinline__ void wait_for(int offset) {
    while (arrived_ < kArrivals && arrived_ * kOffsetsPerArrival <= offset) {
      switch (arrived_++) {
        case 0:
          cp_async_wait<3>();
          break;
        case 1:
          cp_async_wait<2>();
          break;
        case 2:
          cp_async_wait<1>();
          break;
        default:
          cp_async_wait<0>();
      }
      __syncthreads();
    }
  }
  __device__ __forceinline__ void wait_for_all() { wait_for(kOffsets); }

 private:
  int arrived_ = 0;
};

// A slab's columns of the table.
template <typename C>
class Columns {
 public:
  using T = typename C::T;

  __device__ __forceinline__ Columns(const SparseConvArguments<T>& args, const ChunkedShape& shape,
                                     int64_t num_rows, int64_t first_row, int lane)
      : args_(args), shape_(shape), first_(first_row + lane / 4) {
    const int64_t left = num_rows - first_row;
    left_ = (left < C::kRows ? static_cast<int>(left) : C::kRows) - lane / 4;
  }

  // Which offsets the slab meets, as bits.
  __device__ __forceinline__ uint32_t scan(int64_t num_rows, int64_t first_row, int lane) const {
    constexpr int kHalves = 32 / C::kRows;
    const int64_t i = first_row + lane % C::kRows;
    const bool exists = i < num_rows;
    uint32_t mask = 0;
    if (args_.neighbors == nullptr) {
      mask = all_offsets(shape_.num_offsets);
    } else {
      const auto num_in = static_cast<uint32_t>(args_.shape.num_in);
      const int half = lane / C::kRows;
      const int32_t* entry = args_.neighbors + half * args_.shape.num_out + i;
      bool outside = false;
#pragma unroll
      for (int first = 0; first < kOffsets; first += 8 * kHalves) {
        int32_t found[8];
#pragma unroll
        for (int o = 0; o < 8; ++o) {
          found[o] = -1;
          if (first + o * kHalves + half < shape_.num_offsets && exists) found[o] = *entry;
          entry += kHalves * args_.shape.num_out;
        }
#pragma unroll
        for (int o = 0; o < 8; ++o) {
          const bool is_row = static_cast<uint32_t>(found[o]) < num_in;
          outside |= !is_row && found[o] != -1;
          if (is_row) mask |= (kHalves == 1 ? 1u : 1u << half) << (first + o * kHalves);
        }
      }
      report_if(outside, args_.error_flag);
      mask = __reduce_or_sync(0xffffffffu, mask);
    }
    return shape_.offsets > shape_.num_offsets ? mask | 1u << shape_.num_offsets : mask;
  }

  // Starts reading the rows of an offset, -1 past the last one.
  __device__ __forceinline__ void fetch(int offset) {
#pragma unroll
    for (int tile = 0; tile < C::kRowTiles; ++tile) {
      rows_[tile] = -1;
      if (offset < 0 || tile * 8 >= left_) continue;
      if (offset == shape_.num_offsets || args_.neighbors == nullptr) {
        const int64_t i = first_ + tile * 8;
        rows_[tile] =
            static_cast<int32_t>(offset == shape_.num_offsets && args_.order ? args_.order[i] : i);
      } else {
        rows_[tile] = args_.neighbors[offset * args_.shape.num_out + first_ + tile * 8];
      }
    }
  }

  __device__ __forceinline__ const int32_t (&rows() const)[C::kRowTiles] { return rows_; }

 private:
  const SparseConvArguments<T>& args_;
  const ChunkedShape& shape_;
  int64_t first_;  // column of this lane's first row
  int left_;       // columns from that one on
  int32_t rows_[C::kRowTiles];
};

template <typename C>
__device__ __forceinline__ void convolve_slab(const SparseConvArguments<typename C::T>& args,
                                              const ChunkedShape& shape, int64_t num_rows,
                                              int64_t first_row, int first_column,
                                              const typename C::T* weights, Arrival<C>& arrival) {
  const int lane = threadIdx.x % 32;
  Columns<C> columns(args, shape, num_rows, first_row, lane);
  const StepCounter counter(shape, 0);
  float sums[kTilesPerPanel][C::kRowTiles][4] = {};
  Cursor now{columns.scan(num_rows, first_row, lane), 0}, next = now;
  const auto aim = [&](typename C::Rows& rows, const Cursor& at) {
    rows.aim(counter.features(args, at), counter.row_bytes(at), columns.rows(),
             static_cast<uint32_t>(at.place() - 1 == shape.num_offsets ? args.shape.num_out
                                                                       : args.shape.num_in),
             lane);
  };
  typename C::Rows rows;
  columns.fetch(now.place() - 1);
  aim(rows, now);
  rows.load_all();
  counter.advance(next);
  columns.fetch(next.place() - 1);
  while (now.remaining) {
    aim(rows, next);
    Cursor later = next;
    if (later.remaining) counter.advance(later);
    columns.fetch(later.place() - 1);
    arrival.wait_for(now.place() - 1);
    const int chunk = (now.place() - 1) * shape.chunks + now.chunk;
    multiply_step<1>(rows, weights + chunk * C::Weights::kElements, lane, sums);
    now = next;
    next = later;
  }
  store_turned(args, num_rows, first_row, first_column, lane, sums);
}

template <typename C>
__global__ void __launch_bounds__(kThreads, 1)
    resident_kernel(const SparseConvArguments<typename C::T> args, const ChunkedShape shape,
                    unsigned across) {
  auto& shared = *dynamic_shared<typename C::Shared>();
  const int first_column = static_cast<int>(blockIdx.x % across) * kColumns;
  if (threadIdx.x == 0) shared.next_slab = 0;
  __syncthreads();
  Arrival<C> arrival(args, shape, first_column, shared.weights);
  const int64_t num_rows = valid_rows(args.num_rows, args.shape.num_out);
  const auto slabs = static_cast<unsigned>((num_rows + C::kRows - 1) / C::kRows);
  for (;;) {
    unsigned slab = 0;
    if (threadIdx.x % 32 == 0) slab = atomicAdd(&shared.next_slab, 1);
    slab = __shfl_sync(0xffffffffu, slab, 0) * (gridDim.x / across) + blockIdx.x / across;
    if (slab >= slabs) break;
    convolve_slab<C>(args, shape, num_rows, int64_t{slab} * C::kRows, first_column, shared.weights,
                     arrival);
  }
  arrival.wait_for_all();
}

template <typename C>
size_t shared_bytes(const ChunkedShape& shape) {
  const size_t chunks = size_t(shape.num_offsets) * shape.chunks + shape.shortcut_chunks;
  return kDynamicSharedBytes<typename C::Shared> +
         chunks * C::Weights::kElements * sizeof(typename C::T);
}

template <typename C>
cudaError_t launch(const SparseConvArguments<typename C::T>& args, cudaStream_t stream) {
  if (offsets_of(args) > kOffsets) return cudaErrorInvalidValue;
  constexpr auto kernel = resident_kernel<C>;
  const ChunkedShape shape(args, C::kChunk);
  const size_t bytes = shared_bytes<C>(shape);
  int device = 0, multiprocessors = 0, most = 0;
  ELITE_CUDA_TRY(cudaGetDevice(&device));
  ELITE_CUDA_TRY(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
  ELITE_CUDA_TRY(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  if (bytes > static_cast<size_t>(most)) return cudaErrorInvalidValue;
  ELITE_CUDA_TRY(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most));
  const int64_t across = (args.shape.c_out + kColumns - 1) / kColumns;
  const int64_t slabs = (args.shape.num_out + C::kRows - 1) / C::kRows;
  const int64_t most_blocks = (multiprocessors + across - 1) / across;
  const int64_t blocks = std::min(most_blocks, (slabs + kWarps - 1) / kWarps);
  const cudaLaunchConfig_t config = launch_config(blocks * across, kThreads, stream, bytes);
  return cudaLaunchKernelEx(&config, kernel, args, shape, static_cast<unsigned>(across));
}

template <typename T, int kRowTiles>
cudaError_t forward(const SparseConvArguments<T>& args, cudaStream_t stream) {
  return launch_for_chunk(args, [&](auto chunk_bytes) {
    return launch<Config<T, kRowTiles, decltype(chunk_bytes)::value>>(args, stream);
  });
}

}  // namespace

template <typename T>
cudaError_t forward_resident(const SparseConvArguments<T>& args, cudaStream_t stream) {
  return forward<T, 2>(args, stream);
}
template <typename T>
cudaError_t forward_resident_32(const SparseConvArguments<T>& args, cudaStream_t stream) {
  return forward<T, 4>(args, stream);
}

#define INSTANTIATE(T) \
  template cudaError_t forward_resident<T>(const SparseConvArguments<T>&, cudaStream_t)
INSTANTIATE(__half);
INSTANTIATE(__nv_bfloat16);
#undef INSTANTIATE
template cudaError_t forward_resident_32<__half>(const SparseConvArguments<__half>&, cudaStream_t);

}  // namespace elite_ops::cuda::tensor_core
