// Linear maps on tensor cores. A block keeps the weights of its columns in shared memory; its warps
// walk slabs of 16 rows, and none waits for another. A slab's features go to registers, once; those
// of the next slab come while this one's sums are written.
#include <algorithm>

#include "common/num_rows.h"
#include "dynamic_shared.cuh"
#include "launch.cuh"
#include "linear_mma.cuh"
#include "linear_rows.cuh"
#include "sparse_conv_rows.cuh"

namespace elite_ops::cuda::tensor_core {
namespace {

constexpr int kBlocksPerSm = 2;

// kPartBytes: the part of a row that is in registers at a time. kWidth: the columns of a tile.
template <typename Element, int kPartBytes, int kWidth_, bool kIsWhole_>
struct Config {
  using T = Element;
  using Part = SlabPart<T, kPartBytes>;
  static constexpr int kWidth = kWidth_;
  static constexpr bool kIsWhole = kIsWhole_;  // a part is a row
  // As registers allow.
  static constexpr int kWarps = sizeof(T) == 2 && kPartBytes <= 128 && kIsWhole ? 10 : 8;
  static constexpr int kThreads = kWarps * 32;
  static constexpr size_t bytes_of_tile(int64_t c_in) {
    return (c_in * sizeof(T) + sizeof(float)) * kWidth;  // weights and bias
  }
};

// What a launch decides.
struct Plan {
  int tiles;  // of kWidth columns
  int tiles_of_block;
  unsigned across;  // blocks side by side
  int residuals;    // the last of them is there
};

// How slabs are dealt out to warps, round by round: neighbours to the warps of a block, but those
// of the last round, which may not suffice for all, to as many blocks as there are.
template <unsigned kWarps>
struct Slabs {
  unsigned count;
  unsigned blocks;

  __device__ __forceinline__ unsigned at(unsigned round, unsigned block, unsigned warp) const {
    const unsigned first = round * blocks * kWarps;
    return first +
           (count - first >= blocks * kWarps ? block * kWarps + warp : warp * blocks + block);
  }
};

template <typename C>
__device__ __forceinline__ void load_bias(const typename C::T* bias, int c_out, int first_column,
                                          int columns, float* to) {
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < columns; i += C::kThreads) {
    const bool exists = bias && first_column + i < c_out;
    to[i] = exists ? static_cast<float>(bias[first_column + i]) : 0.f;
  }
}

template <typename C>
__global__ void __launch_bounds__(C::kThreads, kBlocksPerSm)
    linear_kernel(const LinearArguments<typename C::T> args, const Plan plan) {
  using T = typename C::T;
  using Part = typename C::Part;
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int c_in = C::kIsWhole ? Part::kChannels : static_cast<int>(args.c_in);
  const int c_out = static_cast<int>(args.c_out), parts = c_in / Part::kChannels;
  const unsigned block = blockIdx.x / plan.across;
  const int first_tile = static_cast<int>(blockIdx.x % plan.across) * plan.tiles_of_block;
  const int tiles = min(plan.tiles_of_block, plan.tiles - first_tile);
  const int first_column = first_tile * C::kWidth;
  T* const weights = dynamic_shared<T>();
  auto* const bias = reinterpret_cast<float*>(weights + tiles * c_in * C::kWidth);

  // The weights come along with the number of rows, rather than after it.
  const int64_t count = args.num_rows ? *args.num_rows : args.num_out;
  for (int tile = 0; tile < tiles; ++tile) {
    load_weights_of_parts<Part, C::kWidth, C::kThreads>(args.weight, c_in, c_out,
                                                        first_column + tile * C::kWidth,
                                                        weights + tile * c_in * C::kWidth);
  }
  load_bias<C>(args.epilogue.bias, c_out, first_column, tiles * C::kWidth, bias);

  const auto num_rows = static_cast<uint32_t>(valid_rows(&count, args.num_out));
  const Slabs<C::kWarps> slabs{(num_rows + kSlabRows - 1) / kSlabRows, gridDim.x / plan.across};
  const auto fetch = [&](unsigned slab) {
    return fetch_row(args.features, slab * kSlabRows + lane % kSlabRows, num_rows);
  };
  const auto checked = [&](int32_t row) {
    return checked_row(row, args.features.num_rows, args.error_flag);
  };
  const LaneOfWeights<T, C::kWidth> lane_of_weights(static_cast<int>(lane));
  int32_t row = checked(fetch(slabs.at(0, block, warp)));
  Part part;
  part.load(args.features.data, c_in, row, lane);
  __syncthreads();

  for (unsigned round = 0;; ++round) {
    const uint32_t first_row = slabs.at(round, block, warp) * kSlabRows;
    if (first_row >= num_rows) break;
    ResidualRows<T> residual_rows(args.epilogue, first_row, num_rows, lane);
    const int32_t next_row = fetch(slabs.at(round + 1, block, warp));
    for (int tile = 0; tile < tiles; ++tile) {
      const T* weights_of_tile = weights + tile * c_in * C::kWidth;
      SlabSums<T, C::kWidth> sums;
      for (int p = 0; p < parts; ++p, weights_of_tile += Part::kChannels * C::kWidth) {
        if (!C::kIsWhole && tile + p > 0) {
          part.load(args.features.data + p * Part::kChannels, c_in, row, lane);
        }
        part.template multiply<C::kWidth>(weights_of_tile, lane_of_weights, sums.tiles());
      }
      sums.clear_missing(row, lane);
      if (tile == 0) residual_rows.check(args.epilogue, lane, args.error_flag);
      const int column = first_column + tile * C::kWidth, left = c_out - column;
      sums.add_bias(bias + tile * C::kWidth, lane);
#pragma unroll 1
      for (int r = 0; r < plan.residuals; ++r) {
        const T* residual = args.epilogue.residuals[r].data;
        if (residual) sums.add(residual + column, residual_rows, r, c_out, left, lane);
      }
      if (tile + 1 == tiles) {
        row = checked(next_row);
        part.load(args.features.data, c_in, row, lane);
      }
      sums.activate(args.epilogue.negative_slope);
      sums.store(at_row(args.out, first_row, c_out, column), num_rows - first_row, c_out, left,
                 lane);
    }
  }
}

constexpr size_t kMostSharedBytes = 72 * 1024;  // of a block: three fit on sm_90

template <typename C>
cudaError_t launch(const LinearArguments<typename C::T>& args, cudaStream_t stream) {
  constexpr auto kernel = linear_kernel<C>;
  const size_t bytes_of_tile = C::bytes_of_tile(args.c_in);
  const int64_t tiles = (args.c_out + C::kWidth - 1) / C::kWidth;
  const int64_t of_block = std::min(tiles, static_cast<int64_t>(kMostSharedBytes / bytes_of_tile));
  Plan plan{static_cast<int>(tiles), static_cast<int>(of_block),
            static_cast<unsigned>((tiles + of_block - 1) / of_block), kMaxResiduals};
  while (plan.residuals > 0 && !args.epilogue.residuals[plan.residuals - 1].data) --plan.residuals;
  int device = 0, multiprocessors = 0;
  ELITE_CUDA_TRY(cudaGetDevice(&device));
  ELITE_CUDA_TRY(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
  // The most, not what this one needs: another thread may be launching it with more.
  ELITE_CUDA_TRY(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kMostSharedBytes));
  const int64_t slabs = (args.num_out + kSlabRows - 1) / kSlabRows;
  const int64_t at_once = int64_t{multiprocessors} * kBlocksPerSm / plan.across;
  const int64_t blocks = std::max<int64_t>(1, std::min(slabs, at_once)) * plan.across;
  const cudaLaunchConfig_t config =
      launch_config(blocks, C::kThreads, stream, of_block * bytes_of_tile);
  return cudaLaunchKernelEx(&config, kernel, args, plan);
}

// For rows that are one part, or several.
template <typename T, int kPartBytes>
cudaError_t launch_part(const LinearArguments<T>& args, cudaStream_t stream) {
  if (args.c_in * sizeof(T) != kPartBytes) {
    return launch<Config<T, std::min(kPartBytes, 128), 64, false>>(args, stream);
  }
  if (args.c_out <= 32) return launch<Config<T, kPartBytes, 32, true>>(args, stream);
  return launch<Config<T, kPartBytes, 64, true>>(args, stream);
}

}  // namespace

template <typename T>
bool linear_fits(const LinearArguments<T>& args) {
  return Config<T, 64, 64, false>::bytes_of_tile(args.c_in) <= kMostSharedBytes;
}

template <typename T>
cudaError_t linear(const LinearArguments<T>& args, cudaStream_t stream) {
  const size_t row_bytes = args.c_in * sizeof(T);
  if (row_bytes % 256 == 0) return launch_part<T, 256>(args, stream);
  if (row_bytes % 128 == 0) return launch_part<T, 128>(args, stream);
  if constexpr (sizeof(T) == 2) {
    if (row_bytes % 64 != 0) return launch_part<T, 32>(args, stream);
  }
  return launch_part<T, 64>(args, stream);
}

#define INSTANTIATE(T)                                          \
  template bool linear_fits<T>(const LinearArguments<T>& args); \
  template cudaError_t linear<T>(const LinearArguments<T>&, cudaStream_t)
INSTANTIATE(float);
INSTANTIATE(__half);
INSTANTIATE(__nv_bfloat16);
#undef INSTANTIATE

}  // namespace elite_ops::cuda::tensor_core
