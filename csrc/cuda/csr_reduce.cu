// A short row is added up by a group of lanes, a longer one by a warp, a very long one by a block:
// how long decides, and nothing else, so that a row's bits are its own.
#include <bit>

#include "common/num_rows.h"
#include "cuda/accumulate.cuh"
#include "cuda/csr_reduce.h"
#include "cuda/packed.cuh"
#include "cuda/row_groups.cuh"

namespace elite_ops::cuda {
namespace {

constexpr unsigned kWholeWarp = 0xffffffffu;
constexpr int kWarpSize = 32;
constexpr int kWarps = kThreadsPerBlock / kWarpSize;
constexpr int kLogThreads = 8;
static_assert(1 << kLogThreads == kThreadsPerBlock);

constexpr int32_t kGroupEntries = 16;  // of a row for one group, at most
constexpr int32_t kWarpEntries = 128;  // of a row for one warp, at most
constexpr int kIndices = 8;            // of rows that a lane has on their way at once
constexpr int kLoads = 4;              // rows of `src` that it has
// So many tiles at least, where there are as many rows: few rows are long ones.
constexpr uint32_t kSpreadTiles = 512;
// So many blocks at most in a padded buffer, where most may find nothing to do.
constexpr uint32_t kMaxBlocks = 1024;

// What an entry stands for: a row, a row with a weight, or a row found via another list.
enum class Entries { kRows, kWeighted, kVia };

// On a multiprocessor: as many as leave a thread the registers that it needs.
template <typename scalar_t, Entries kind>
constexpr int kBlocksAtOnce = kind == Entries::kWeighted ? 3 : 4;

// The rows that a block adds up in one go, one for each group. Long rows tend to be neighbours, as
// the voxels near a sensor are: a tile's rows are as far from each other as can be, and few rows
// are in as many warps.
struct RowTiles {
  uint32_t rows;
  uint32_t count;

  // For groups of 2^log_lanes.
  __host__ __device__ RowTiles(int64_t num_rows, int log_lanes)
      : rows(static_cast<uint32_t>(num_rows)), count(0) {
    const uint32_t groups = kThreadsPerBlock >> log_lanes;
    const uint32_t needed = (rows + groups - 1) >> (kLogThreads - log_lanes);
    const uint32_t spread = rows < kSpreadTiles ? rows : kSpreadTiles;
    count = spread > needed ? spread : needed;
  }
  // The row of a warp's group; there may be none.
  __device__ uint32_t row(uint32_t tile, int warp, int group) const {
    return static_cast<uint32_t>(group * kWarps + warp) * count + tile;
  }
};

// The matrix in packs, and the list.
template <typename scalar_t, int width>
struct Source {
  using Pack = Packed<scalar_t, width>;
  const Pack* src;
  uint32_t packs;  // of a row
  Csr csr;
  bool mean;
};

// The bits of a pack, in registers of 32 bits where it fills some.
template <typename scalar_t, int width>
using Bits =
    std::conditional_t<sizeof(scalar_t) * width % 4 == 0,
                       Packed<uint32_t, sizeof(scalar_t) * width / 4>, Packed<uint16_t, 1>>;

// The sum of one pack of channels over some entries of a row.
template <typename scalar_t, int width, Entries kind>
struct Sum {
  using accumulate = accumulate_t<scalar_t>;
  using Pack = Packed<scalar_t, width>;
  accumulate values[width];
  int32_t count;  // of the entries that stand for a row

  // Every `step`-th entry; `packs` are the lane's in the first row, a row has `row_packs`. What is
  // loaded is on its way before the first of it is added.
  __device__ __forceinline__ void add_entries(const Csr& csr, const Pack* __restrict__ packs,
                                              uint32_t row_packs, int32_t begin, int32_t end,
                                              int32_t step) {
    for (int32_t first = begin; first < end; first += kIndices * step) {
      int32_t rows[kIndices];
      accumulate weights[kIndices]{};
#pragma unroll
      for (int j = 0; j < kIndices; j += kLoads) {
        find_rows(csr, first + j * step, end, step, rows + j, weights + j);
      }
      if constexpr (kind == Entries::kVia) {
#pragma unroll
        for (int32_t& row : rows) row = row >= 0 ? csr.via[row] : -1;
      }
#pragma unroll
      for (int j = 0; j < kIndices; j += kLoads) {
        if (first + j * step < end) add_rows(packs, row_packs, rows + j, weights + j);
      }
    }
  }

  // The rows of kLoads entries from `first` on, and their weights.
  __device__ __forceinline__ static void find_rows(const Csr& csr, int32_t first, int32_t end,
                                                   int32_t step, int32_t* rows,
                                                   accumulate* weights) {
#pragma unroll
    for (int j = 0; j < kLoads; ++j) rows[j] = -1;
    if (first >= end) return;
#pragma unroll
    for (int j = 0; j < kLoads; ++j) {
      const int32_t e = first + j * step;
      if (e >= end) continue;
      rows[j] = csr.columns[e];
      // What stands beside none doesn't count, not even if it isn't finite.
      if constexpr (kind == Entries::kWeighted) weights[j] = rows[j] >= 0 ? csr.weights[e] : 0;
    }
  }

  // kLoads rows, of which -1 is none.
  __device__ __forceinline__ void add_rows(const Pack* __restrict__ packs, uint32_t row_packs,
                                           const int32_t* rows, const accumulate* weights) {
    using Raw = Bits<scalar_t, width>;
    Raw raw[kLoads]{};
#pragma unroll
    for (int j = 0; j < kLoads; ++j) {
      const auto row = static_cast<uint64_t>(static_cast<uint32_t>(rows[j]));
      if (rows[j] >= 0) raw[j] = *reinterpret_cast<const Raw*>(packs + row * row_packs);
    }
#pragma unroll
    for (int j = 0; j < kLoads; ++j) {
      const auto pack = __builtin_bit_cast(Pack, raw[j]);
      count += rows[j] >= 0;
      for (int i = 0; i < width; ++i) {
        const auto value = static_cast<accumulate>(pack.values[i]);
        values[i] += kind == Entries::kWeighted ? weights[j] * value : value;
      }
    }
  }

  __device__ __forceinline__ void add(const Sum& other) {
    for (int i = 0; i < width; ++i) values[i] += other.values[i];
    count += other.count;
  }

  // Adds the groups of the warp, for all of them.
  __device__ __forceinline__ void add_groups(int lanes) {
    for (int distance = lanes; distance < kWarpSize; distance *= 2) {
      for (int i = 0; i < width; ++i) {
        values[i] += __shfl_xor_sync(kWholeWarp, values[i], distance);
      }
      count += __shfl_xor_sync(kWholeWarp, count, distance);
    }
  }

  __device__ __forceinline__ void store(bool mean, Packed<scalar_t, width>* out) const {
    Packed<scalar_t, width> pack;
    const accumulate divisor = mean && count > 1 ? static_cast<accumulate>(count) : 1;
    // A product suffices for half of the bits.
    const accumulate factor = 1 / divisor;
    for (int i = 0; i < width; ++i) {
      pack.values[i] =
          static_cast<scalar_t>(sizeof(scalar_t) == 2 ? values[i] * factor : values[i] / divisor);
    }
    *out = pack;
  }
};

// Where a thread stands.
struct Place {
  int lane;   // in its group
  int group;  // in its warp
  int warp;
  int lanes;   // of a group
  int groups;  // of a warp
  __device__ explicit Place(int log_lanes)
      : lane(static_cast<int>(threadIdx.x) & ((1 << log_lanes) - 1)),
        group(static_cast<int>(threadIdx.x) % kWarpSize >> log_lanes),
        warp(static_cast<int>(threadIdx.x) / kWarpSize),
        lanes(1 << log_lanes),
        groups(kWarpSize >> log_lanes) {}
};

// What a group adds up: part number `part` of the `parts` of a row, or nothing.
struct Part {
  uint32_t row = 0;
  int32_t begin = 0, end = 0;
  int part = 0, parts = 0;
};

// Adds up a row by as many groups as its part says: one, those of a warp, or those of the block.
template <typename scalar_t, int width, Entries kind>
__device__ __forceinline__ void reduce(const Source<scalar_t, width>& source, const Place& place,
                                       const Part& own, Sum<scalar_t, width, kind>* sums,
                                       Packed<scalar_t, width>* out) {
  for (uint32_t base = 0; base < source.packs; base += place.lanes) {
    const uint32_t pack = base + place.lane;
    Sum<scalar_t, width, kind> sum{};
    if (pack < source.packs) {
      sum.add_entries(source.csr, source.src + pack, source.packs, own.begin + own.part, own.end,
                      own.parts);
    }
    if (own.parts > 1) sum.add_groups(place.lanes);
    if (own.parts > place.groups) {
      if (place.group == 0) sums[place.warp * kWarpSize + place.lane] = sum;
      __syncthreads();
      for (int w = 1; w < kWarps && own.part == 0; ++w) sum.add(sums[w * kWarpSize + place.lane]);
      __syncthreads();
    }
    if (own.parts > 0 && own.part == 0 && pack < source.packs) {
      sum.store(source.mean, out + uint64_t{own.row} * source.packs + pack);
    }
  }
}

template <typename scalar_t, int width, Entries kind>
__global__ void __launch_bounds__(kThreadsPerBlock, kBlocksAtOnce<scalar_t, kind>)
    csr_reduce_kernel(Source<scalar_t, width> source, int log_lanes, Packed<scalar_t, width>* out) {
  __shared__ Sum<scalar_t, width, kind> sums[kThreadsPerBlock];
  __shared__ unsigned longest_rows[kWarps];
  const Csr& csr = source.csr;
  const Place place(log_lanes);
  const RowTiles tiles(valid_rows(csr.num_rows, csr.rows), log_lanes);
  for (uint32_t tile = blockIdx.x; tile < tiles.count; tile += gridDim.x) {
    const uint32_t row = tiles.row(tile, place.warp, place.group);
    Part own;
    if (row < tiles.rows) own = {row, csr.offsets[row], csr.offsets[row + 1], 0, 1};
    const int32_t begin = own.begin, end = own.end, length = end - begin;
    const auto ballot = [&](bool holds) {
      return __ballot_sync(kWholeWarp, place.lane == 0 && holds);
    };
    unsigned longer = ballot(length > kGroupEntries && length <= kWarpEntries);
    const unsigned longest = ballot(length > kWarpEntries);
    if (place.lane == 0 && place.group == 0) longest_rows[place.warp] = longest;
    const bool shares = __syncthreads_or(longest != 0);
    // First the short rows, then the longer ones of this warp, then the longest of the block.
    if (length > kGroupEntries) own = {};
    int warp = 0;
    unsigned rest = shares ? longest_rows[0] : 0;
    while (true) {
      reduce(source, place, own, sums, out);
      if (longer != 0) {
        const int first_lane = __ffs(static_cast<int>(longer)) - 1;
        own = {__shfl_sync(kWholeWarp, row, first_lane), __shfl_sync(kWholeWarp, begin, first_lane),
               __shfl_sync(kWholeWarp, end, first_lane), place.group, place.groups};
        longer &= longer - 1;
        continue;
      }
      while (shares && rest == 0 && ++warp < kWarps) rest = longest_rows[warp];
      if (rest == 0) break;
      const uint32_t next = tiles.row(tile, warp, (__ffs(static_cast<int>(rest)) - 1) >> log_lanes);
      own = {next, csr.offsets[next], csr.offsets[next + 1],
             place.warp * place.groups + place.group, kWarps * place.groups};
      rest &= rest - 1;
    }
    if (shares) __syncthreads();  // everybody is done with longest_rows
  }
}

template <typename scalar_t, int width>
cudaError_t launch(const scalar_t* src, int64_t channels, const Csr& csr, bool mean, scalar_t* out,
                   cudaStream_t stream) {
  using Pack = Packed<scalar_t, width>;
  const int log_lanes = std::countr_zero(static_cast<unsigned>(lanes_for(channels / width)));
  uint32_t blocks = RowTiles(csr.rows, log_lanes).count;
  if (csr.num_rows != nullptr) blocks = std::min(blocks, kMaxBlocks);
  const cudaLaunchConfig_t config = launch_config(blocks, kThreadsPerBlock, stream);
  const auto kernel = csr.weights != nullptr
                          ? csr_reduce_kernel<scalar_t, width, Entries::kWeighted>
                      : csr.via != nullptr ? csr_reduce_kernel<scalar_t, width, Entries::kVia>
                                           : csr_reduce_kernel<scalar_t, width, Entries::kRows>;
  const Source<scalar_t, width> source{reinterpret_cast<const Pack*>(src),
                                       static_cast<uint32_t>(channels / width), csr, mean};
  return cudaLaunchKernelEx(&config, kernel, source, log_lanes, reinterpret_cast<Pack*>(out));
}

}  // namespace

template <typename scalar_t>
cudaError_t csr_reduce(const scalar_t* src, int64_t channels, const Csr& csr, bool mean,
                       scalar_t* out, cudaStream_t stream) {
  if (csr.rows == 0 || channels == 0) return cudaSuccess;
  const bool wide = fits_widest(src, channels) && fits_widest(out, channels);
  const auto reduce = wide ? launch<scalar_t, kWidest<scalar_t>> : launch<scalar_t, 1>;
  return reduce(src, channels, csr, mean, out, stream);
}

#define INSTANTIATE(T) \
  template cudaError_t csr_reduce<T>(const T*, int64_t, const Csr&, bool, T*, cudaStream_t);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(__half)
INSTANTIATE(__nv_bfloat16)

}  // namespace elite_ops::cuda
