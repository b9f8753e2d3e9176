// The first stage of the weight gradient on tensor cores. A block lists the pairs of many output
// rows, then runs one asynchronous pipeline over the list, so that no product is spent on missing
// neighbours. A warp owns 16 of the input channels.
#include "dynamic_shared.cuh"
#include "launch.cuh"
#include "sparse_conv_mma.cuh"
#include "sparse_conv_tile.cuh"
#include "sparse_conv_weight_tile.cuh"

namespace elite_ops::cuda::tensor_core {
namespace {

constexpr int kThreads = kWeightTile / kSlabRows * 32;
constexpr int kStages = 3;       // chunks of pairs in flight or in use
constexpr int kPairDepth = 32;   // pairs of a chunk
constexpr int kListRows = 1024;  // output rows whose pairs are listed at a time

static_assert(kWeightTile == kColumns);

template <typename T>
struct WeightShared {
  T a[kStages][kPairDepth * kWeightTile];
  T b[kStages][kPairDepth * kWeightTile];
  Pairs<kThreads, kListRows> pairs;
};

// Starts the copy of kWeightTile channels of a row of `matrix`, or of zeros past the last channel.
template <typename T>
__device__ __forceinline__ void load_vector(T* to, const T* matrix, int64_t row, int64_t channels,
                                            int64_t first_channel, int pair, int vector,
                                            bool exists) {
  const int64_t channel = first_channel + vector * kPerVector<T>;
  exists = exists && channel < channels;
  cp_async_16(&to[element<T>(pair, vector * kPerVector<T>)],
              matrix + (exists ? row * channels + channel : 0), exists);
}

template <typename T>
__device__ __forceinline__ void load(const WeightArguments<T>& args, const WeightBlock& block,
                                     WeightShared<T>& shared, int stage, int64_t first_row,
                                     int first_pair, int count) {
#pragma unroll
  for (int e = static_cast<int>(threadIdx.x); e < kPairDepth * kVectors<T>; e += kThreads) {
    const int pair = e / kVectors<T>, vector = e % kVectors<T>, place = first_pair + pair;
    const bool exists = place < count;
    const int64_t in = exists ? shared.pairs.in[place] : 0;
    const int64_t out = exists ? first_row + shared.pairs.out[place] : 0;
    load_vector(shared.a[stage], args.features, in, args.shape.c_in, block.first_row, pair, vector,
                exists);
    load_vector(shared.b[stage], args.grad_out, out, args.shape.c_out, block.first_column, pair,
                vector, exists);
  }
}

// The fragment of this warp's channels, which are columns of `a`, over the pairs of one part.
template <typename T>
__device__ __forceinline__ void load_fragment(const T* a, int part, int warp, int lane,
                                              uint32_t (&fragment)[4]) {
  if constexpr (sizeof(T) == 2) {
    const int pair = part * 16 + lane / 16 * 8 + lane % 8;
    const int channel = warp * kSlabRows + lane / 8 % 2 * 8;
    ldmatrix_x4_trans(fragment, &a[element<T>(pair, channel)]);
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int pair = part * 8 + lane % 4 + i / 2 * 4;
      const int channel = warp * kSlabRows + lane / 4 + i % 2 * 8;
      fragment[i] = to_tf32(a[element<T>(pair, channel)]);
    }
  }
}

template <typename T>
__device__ __forceinline__ void store(const WeightArguments<T>& args, const WeightBlock& block,
                                      int warp, int lane, const float (&sums)[kTilesPerSlab][4]) {
#pragma unroll
  for (int tile = 0; tile < kTilesPerSlab; ++tile) {
    const int64_t column = block.first_column + tile * 8 + lane % 4 * 2;
    if (column >= args.shape.c_out) continue;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t row = block.first_row + warp * kSlabRows + lane / 4 + half * 8;
      if (row >= args.shape.c_in) continue;
      float* to = args.partials + block.partial + row * args.shape.c_out + column;
      *reinterpret_cast<float2*>(to) = make_float2(sums[tile][half * 2], sums[tile][half * 2 + 1]);
    }
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads, 3) weight_kernel(const WeightArguments<T> args) {
  auto& shared = *dynamic_shared<WeightShared<T>>();
  const WeightBlock block = weight_block(args);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  float sums[kTilesPerSlab][4] = {};

  for (int64_t first = block.begin; first < block.end; first += kListRows) {
    // A barrier of the pipeline below has followed the last use of the list before.
    const int count = shared.pairs.collect(args, block, first);
    const int steps = (count + kPairDepth - 1) / kPairDepth;
    const auto load_step = [&](int step) {
      if (step < steps) {
        load(args, block, shared, step % kStages, first, step * kPairDepth, count);
      }
      cp_async_commit();  // an empty group at the end, so that the wait below always counts alike
    };
    for (int step = 0; step < kStages - 1; ++step) load_step(step);
    for (int step = 0; step < steps; ++step) {
      cp_async_wait<kStages - 2>();
      __syncthreads();  // the step has arrived, and everybody is done with the stage filled next
      load_step(step + kStages - 1);
      const int stage = step % kStages;
#pragma unroll
      for (int part = 0; part < kPairDepth / kPartRows<T>; ++part) {
        uint32_t fragment[4];
        load_fragment(shared.a[stage], part, warp, lane, fragment);
        multiply_part(fragment, shared.b[stage], part, lane, sums);
      }
    }
  }
  store(args, block, warp, lane, sums);
}

}  // namespace

template <typename T>
cudaError_t weight_partials(const WeightArguments<T>& args, int64_t blocks, cudaStream_t stream) {
  constexpr auto kernel = weight_kernel<T>;
  constexpr size_t kBytes = sizeof(WeightShared<T>);
  ELITE_CUDA_TRY(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      static_cast<int>(kBytes)));
  const cudaLaunchConfig_t config = launch_config(blocks, kThreads, stream, kBytes);
  return cudaLaunchKernelEx(&config, kernel, args);
}

template cudaError_t weight_partials<float>(const WeightArguments<float>&, int64_t, cudaStream_t);
template cudaError_t weight_partials<__half>(const WeightArguments<__half>&, int64_t, cudaStream_t);
template cudaError_t weight_partials<__nv_bfloat16>(const WeightArguments<__nv_bfloat16>&, int64_t,
                                                    cudaStream_t);

}  // namespace elite_ops::cuda::tensor_core
