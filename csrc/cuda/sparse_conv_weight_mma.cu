// A block runs one asynchronous pipeline over its share of the pairs. Teams of warps take the parts
// of a step in turn, each for the whole tile, and add up their sums at the end; within a team, a
// warp owns 32 of the input channels and up to 64 of the output channels.
#include <algorithm>

#include "dynamic_shared.cuh"
#include "launch.cuh"
#include "mma.cuh"
#include "sparse_conv_weight_mma.cuh"

namespace elite_ops::cuda::tensor_core {
namespace {

constexpr int kStages = 3;     // steps in flight or in use
constexpr int kWarpRows = 32;  // input channels of a warp
constexpr int kTeamParts = 2;  // mma depths that a team takes of a step

template <typename T, int kTile>
struct Tiling {
  static constexpr int kWarpColumns = std::min(kTile, 64);  // output channels of a warp
  static constexpr int kTeamWarps = kTile / kWarpRows * (kTile / kWarpColumns);
  static constexpr int kTeams = kTeamWarps < 4 ? 4 / kTeamWarps : 1;
  static constexpr int kThreads = kTeams * kTeamWarps * 32;
  static constexpr int kBlocksPerProcessor = kTile < 128 ? 3 : sizeof(T) == 2 ? 2 : 1;
  static constexpr int kPartPairs = 32 / sizeof(T);  // the depth of an mma
  static constexpr int kStepPairs = kTeams * kTeamParts * kPartPairs;
  static constexpr int kPerVector = 16 / sizeof(T);
  static constexpr int kVectors = kTile / kPerVector;  // of a row
  static constexpr int kPassPairs = kThreads / kVectors;
  static constexpr int kPasses = kStepPairs / kPassPairs;  // in which a step is loaded
  static constexpr int kSums = kWarpRows * kWarpColumns / 32;
  static_assert(kPassPairs % 8 == 0 && kStepPairs % kPassPairs == 0);
};

template <typename T, int kTile>
struct Shared {
  using Tiles = Tiling<T, kTile>;
  T a[kStages][Tiles::kStepPairs * kTile];
  T b[kStages][Tiles::kStepPairs * kTile];
  int2 pairs[kListedPairs + Tiles::kStepPairs];
};

// Where an element of a row lies. Whatever the fragments read together meets each bank once: the
// same vector of 8 rows in 16-bit types, two neighbouring vectors of 4 rows in tf32, word by word.
// Eight rows further on, the places are the same.
template <typename T, int kTile>
__device__ __forceinline__ int element(int pair, int channel) {
  constexpr int kPerVector = Tiling<T, kTile>::kPerVector;
  constexpr int kVectors = Tiling<T, kTile>::kVectors;
  const int phase = sizeof(T) == 4 ? pair % 4 * 2 : kVectors >= 8 ? pair % 8 : pair / 2 % kVectors;
  return pair * kTile + ((channel / kPerVector) ^ phase) * kPerVector + channel % kPerVector;
}

// What a thread copies: one vector of several rows of both matrices.
template <typename T, int kTile>
class Loader {
 public:
  using Tiles = Tiling<T, kTile>;

  __device__ __forceinline__ Loader(const WeightArguments<T>& args, const WeightBlock& block)
      : pair_(static_cast<int>(threadIdx.x) / Tiles::kVectors),
        in_bytes_(static_cast<uint32_t>(args.shape.c_in * sizeof(T))),
        out_bytes_(static_cast<uint32_t>(args.shape.c_out * sizeof(T))) {
    const int channel = static_cast<int>(threadIdx.x) % Tiles::kVectors * Tiles::kPerVector;
    const int c_in = block.first_row + channel, c_out = block.first_column + channel;
    place_ = element<T, kTile>(pair_, channel);
    least_in_ = c_in < args.shape.c_in ? 0 : INT32_MAX;
    least_out_ = c_out < args.shape.c_out ? 0 : INT32_MAX;
    features_ = reinterpret_cast<const char*>(args.features + c_in);
    grad_out_ = reinterpret_cast<const char*>(args.grad_out + c_out);
  }

  // Starts the copies of the kStepPairs pairs at `pairs`, of zeros where there is no channel or no
  // pair.
  __device__ __forceinline__ void load(const int2* pairs, T* a, T* b) const {
    int2 rows[Tiles::kPasses];
#pragma unroll
    for (int p = 0; p < Tiles::kPasses; ++p) rows[p] = pairs[pair_ + p * Tiles::kPassPairs];
#pragma unroll
    for (int p = 0; p < Tiles::kPasses; ++p) {
      const int to = place_ + p * Tiles::kPassPairs * kTile;
      cp_async_16(&a[to], row_at(features_, rows[p].x, in_bytes_), rows[p].x >= least_in_);
      cp_async_16(&b[to], row_at(grad_out_, rows[p].y, out_bytes_), rows[p].y >= least_out_);
    }
  }

 private:
  __device__ __forceinline__ static const char* row_at(const char* matrix, int32_t row,
                                                       uint32_t bytes) {
    return matrix + static_cast<uint64_t>(static_cast<uint32_t>(row)) * bytes;
  }

  int pair_, place_;
  uint32_t in_bytes_, out_bytes_;
  int32_t least_in_, least_out_;  // the first row that has this thread's channels
  const char* features_;
  const char* grad_out_;
};

// The sums of a warp, and where they are in the tile.
template <typename T, int kTile>
class WarpTile {
 public:
  using Tiles = Tiling<T, kTile>;

  __device__ __forceinline__ WarpTile() {
    const int first = team() * kTeamParts * Tiles::kPartPairs * kTile;
#pragma unroll
    for (int i = 0; i < kLefts; ++i) left_[i] = first + left_element(i);
#pragma unroll
    for (int i = 0; i < kRights; ++i) right_[i] = first + right_element(i);
  }

  // Adds the products of the team's parts of a step.
  __device__ __forceinline__ void multiply(const T* a, const T* b) {
#pragma unroll
    for (int part = 0; part < kTeamParts; ++part) {
      constexpr int kPart = Tiles::kPartPairs * kTile;
      uint32_t left[kWarpRows / 16][4];
#pragma unroll
      for (int i = 0; i < kWarpRows / 16; ++i) load_left(a + part * kPart, i, left[i]);
#pragma unroll
      for (int tile = 0; tile < Tiles::kWarpColumns / 8; tile += 2) {
        uint32_t right[2][2];
        load_right(b + part * kPart, tile, right);
#pragma unroll
        for (int i = 0; i < kWarpRows / 16; ++i) {
          multiply_add(sums_[i][tile], left[i], right[0]);
          multiply_add(sums_[i][tile + 1], left[i], right[1]);
        }
      }
    }
  }

  // Adds the teams' sums in their order, through `exchange`. Only the first team has the result.
  __device__ __forceinline__ bool add_teams(float* exchange) {
    if constexpr (Tiles::kTeams > 1) {
      constexpr int kTeamThreads = Tiles::kTeamWarps * 32;
      float* const mine = exchange + static_cast<int>(threadIdx.x) % kTeamThreads;
      __syncthreads();
      if (team() > 0) {
        for_each_sum([&](int i, float& sum) {
          mine[((team() - 1) * Tiles::kSums + i) * kTeamThreads] = sum;
        });
      }
      __syncthreads();
      if (team() > 0) return false;
#pragma unroll
      for (int team = 0; team < Tiles::kTeams - 1; ++team) {
        for_each_sum(
            [&](int i, float& sum) { sum += mine[(team * Tiles::kSums + i) * kTeamThreads]; });
      }
    }
    return true;
  }

  __device__ __forceinline__ void store(const WeightArguments<T>& args,
                                        const WeightBlock& block) const {
#pragma unroll
    for (int i = 0; i < kWarpRows / 8; ++i) {
      const int c_in = block.first_row + row() + i * 8 + lane() / 4;
      if (c_in >= args.shape.c_in) continue;
      float* const to = sums_of(args, block) + c_in * args.shape.c_out;
#pragma unroll
      for (int tile = 0; tile < Tiles::kWarpColumns / 8; ++tile) {
        const int c_out = block.first_column + column() + tile * 8 + lane() % 4 * 2;
        const float (&sums)[4] = sums_[i / 2][tile];
        if (c_out < args.shape.c_out) {
          *reinterpret_cast<float2*>(to + c_out) =
              make_float2(sums[i % 2 * 2], sums[i % 2 * 2 + 1]);
        }
      }
    }
  }

 private:
  static constexpr int kSide = kTile / Tiles::kWarpColumns;  // warps beside each other

  // Places are formed again where they are needed: registers are scarce in the loop.
  __device__ __forceinline__ static int lane() { return static_cast<int>(threadIdx.x) % 32; }
  __device__ __forceinline__ static int team() {
    return static_cast<int>(threadIdx.x) / 32 / Tiles::kTeamWarps;
  }
  __device__ __forceinline__ static int row() {
    return static_cast<int>(threadIdx.x) / 32 % Tiles::kTeamWarps / kSide * kWarpRows;
  }
  __device__ __forceinline__ static int column() {
    return static_cast<int>(threadIdx.x) / 32 % kSide * Tiles::kWarpColumns;
  }

  // Where this lane finds its elements of a part, but for multiples of 4 pairs: an address for
  // each ldmatrix in 16-bit types, for each 8 channels in tf32.
  static constexpr int kLefts = kWarpRows / 16 * static_cast<int>(sizeof(T)) / 2;
  static constexpr int kRights = Tiles::kWarpColumns / 16 * static_cast<int>(sizeof(T)) / 2;

  __device__ __forceinline__ int left_element(int i) const {
    if constexpr (sizeof(T) == 2) {
      return element<T, kTile>(lane() / 16 * 8 + lane() % 8, row() + i * 16 + lane() / 8 % 2 * 8);
    } else {
      return element<T, kTile>(lane() % 4, row() + i * 8 + lane() / 4);
    }
  }
  __device__ __forceinline__ int right_element(int i) const {
    if constexpr (sizeof(T) == 2) {
      return element<T, kTile>(lane() % 16, column() + i * 16 + lane() / 16 * 8);
    } else {
      return element<T, kTile>(lane() % 4, column() + i * 8 + lane() / 4);
    }
  }

  // The i-th fragment of 16 input channels, which are columns of `a`.
  __device__ __forceinline__ void load_left(const T* a, int i, uint32_t (&fragment)[4]) const {
    if constexpr (sizeof(T) == 2) {
      ldmatrix_x4_trans(fragment, &a[left_[i]]);
    } else {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        fragment[j] = to_tf32(a[left_[i * 2 + j % 2] + j / 2 * 4 * kTile]);
      }
    }
  }

  // The fragments of two times 8 output channels.
  __device__ __forceinline__ void load_right(const T* b, int tile,
                                             uint32_t (&fragments)[2][2]) const {
    if constexpr (sizeof(T) == 2) {
      uint32_t r[4];
      ldmatrix_x4_trans(r, &b[right_[tile / 2]]);
#pragma unroll
      for (int j = 0; j < 4; ++j) fragments[j / 2][j % 2] = r[j];
    } else {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        fragments[j / 2][j % 2] = to_tf32(b[right_[tile + j / 2] + j % 2 * 4 * kTile]);
      }
    }
  }

  __device__ __forceinline__ static void multiply_add(float (&sums)[4], const uint32_t (&left)[4],
                                                      const uint32_t (&right)[2]) {
    if constexpr (sizeof(T) == 2) {
      mma_m16n8k16<T>(sums, left, right);
    } else {
      mma_m16n8k8(sums, left, right);
    }
  }

  template <typename Body>
  __device__ __forceinline__ void for_each_sum(const Body& body) {
#pragma unroll
    for (int i = 0; i < Tiles::kSums; ++i) {
      constexpr int kOfRows = Tiles::kSums / (kWarpRows / 16);
      body(i, sums_[i / kOfRows][i % kOfRows / 4][i % 4]);
    }
  }

  int left_[kLefts], right_[kRights];
  float sums_[kWarpRows / 16][Tiles::kWarpColumns / 8][4] = {};
};

template <typename T, int kTile>
__global__ void __launch_bounds__(Tiling<T, kTile>::kThreads, Tiling<T, kTile>::kBlocksPerProcessor)
    weight_kernel(const WeightArguments<T> args) {
  using Tiles = Tiling<T, kTile>;
  auto& shared = *dynamic_shared<Shared<T, kTile>>();
  const WeightBlock block = weight_block(args);
  const Share& share = block.share;
  if (share.offset < 0) return;
  const Segments segments(args.lists, share.offset);
  const Loader<T, kTile> loader(args, block);
  WarpTile<T, kTile> tile;

  for (int32_t first = share.begin; first < share.end; first += kListedPairs) {
    const int32_t last = first + kListedPairs < share.end ? first + kListedPairs : share.end;
    list_share<Tiles::kThreads, Tiles::kStepPairs>(args.lists, segments, share.offset, first, last,
                                                   shared.pairs);
    const int steps = (last - first + Tiles::kStepPairs - 1) / Tiles::kStepPairs;
    const auto load_step = [&](int step, int stage) {
      if (step < steps) {
        loader.load(&shared.pairs[step * Tiles::kStepPairs], shared.a[stage], shared.b[stage]);
      }
      cp_async_commit();  // an empty group at the end, so that the wait below always counts alike
    };
    for (int step = 0; step < kStages - 1; ++step) load_step(step, step);
    for (int step = 0, stage = 0; step < steps; ++step) {
      cp_async_wait<kStages - 2>();
      __syncthreads();  // the step has arrived, and everybody is done with the stage filled next
      load_step(step + kStages - 1, stage > 0 ? stage - 1 : kStages - 1);
      tile.multiply(shared.a[stage], shared.b[stage]);
      stage = stage + 1 < kStages ? stage + 1 : 0;
    }
  }
  static_assert((Tiles::kTeams - 1) * Tiles::kTeamWarps * 32 * Tiles::kSums * sizeof(float) <=
                sizeof(shared.a));
  if (tile.add_teams(reinterpret_cast<float*>(shared.a))) tile.store(args, block);
}

template <typename T, int kTile>
cudaError_t launch(const WeightArguments<T>& args, int64_t blocks, cudaStream_t stream) {
  constexpr auto kernel = weight_kernel<T, kTile>;
  constexpr size_t kBytes = sizeof(Shared<T, kTile>);
  ELITE_CUDA_TRY(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      static_cast<int>(kBytes)));
  const cudaLaunchConfig_t config =
      launch_config(blocks, Tiling<T, kTile>::kThreads, stream, kBytes);
  return cudaLaunchKernelEx(&config, kernel, args);
}

}  // namespace

template <typename T>
cudaError_t weight_partials(const WeightArguments<T>& args, int64_t blocks, cudaStream_t stream) {
  if (args.tile == 32) return launch<T, 32>(args, blocks, stream);
  return args.tile == 64 ? launch<T, 64>(args, blocks, stream)
                         : launch<T, 128>(args, blocks, stream);
}

template cudaError_t weight_partials<float>(const WeightArguments<float>&, int64_t, cudaStream_t);
template cudaError_t weight_partials<__half>(const WeightArguments<__half>&, int64_t, cudaStream_t);
template cudaError_t weight_partials<__nv_bfloat16>(const WeightArguments<__nv_bfloat16>&, int64_t,
                                                    cudaStream_t);

}  // namespace elite_ops::cuda::tensor_core
