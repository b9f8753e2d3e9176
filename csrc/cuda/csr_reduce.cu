#include "common/num_rows.h"
#include "cuda/accumulate.cuh"
#include "cuda/csr_reduce.h"
#include "cuda/packed.cuh"
#include "cuda/row_groups.cuh"

namespace elite_ops::cuda {
namespace {

// A longer row is shared out among the groups of its block.
constexpr int32_t kShortRow = 128;
// So many blocks at least, where there are as many rows: few rows are long ones.
constexpr int64_t kSpreadBlocks = 1024;

// Over how many blocks rows are spread, for `groups` in each.
__host__ __device__ int64_t num_blocks(int64_t rows, int groups) {
  const int64_t spread = rows < kSpreadBlocks ? rows : kSpreadBlocks;
  const int64_t needed = (rows + groups - 1) / groups;
  return spread > needed ? spread : needed;
}

// What an entry stands for: a row, a row with a weight, or a row found via another list.
enum class Entries { kRows, kWeighted, kVia };

// On a multiprocessor: as many as leave a thread the registers that it needs.
template <typename scalar_t, Entries kind>
constexpr int kBlocksAtOnce = sizeof(scalar_t) == 8 || kind == Entries::kWeighted ? 4 : 5;

// The sum of one pack of channels over some entries of a row.
template <typename scalar_t, int width>
struct Sum {
  accumulate_t<scalar_t> values[width];

  // Returns how many of the entries stand for a row.
  template <Entries kind>
  __device__ __forceinline__ int32_t add_entries(const scalar_t* __restrict__ src, int64_t channels,
                                                 int64_t channel, const Csr& csr, int32_t begin,
                                                 int32_t end, int step) {
    using accumulate = accumulate_t<scalar_t>;
    int32_t count = 0;
    // Unrolled, so that several rows are on their way at once.
#pragma unroll 4
    for (int32_t e = begin; e < end; e += step) {
      int64_t row = csr.columns[e];
      if constexpr (kind == Entries::kVia) row = csr.via[row];
      constexpr bool weighted = kind == Entries::kWeighted;
      Packed<scalar_t, width> pack{};
      accumulate weight = 1;
      if (kind == Entries::kRows || row >= 0) {
        pack = *reinterpret_cast<const Packed<scalar_t, width>*>(src + row * channels + channel);
        if constexpr (weighted) weight = csr.weights[e];
        ++count;
      }
      for (int i = 0; i < width; ++i) {
        const auto value = static_cast<accumulate>(pack.values[i]);
        values[i] += weighted ? weight * value : value;
      }
    }
    return count;
  }

  __device__ __forceinline__ void add(const Sum& other) {
    for (int i = 0; i < width; ++i) values[i] += other.values[i];
  }

  __device__ __forceinline__ void store(int32_t count, bool mean, scalar_t* out) const {
    using accumulate = accumulate_t<scalar_t>;
    Packed<scalar_t, width> pack;
    for (int i = 0; i < width; ++i) {
      const bool divides = mean && count > 1;
      pack.values[i] =
          static_cast<scalar_t>(divides ? values[i] / static_cast<accumulate>(count) : values[i]);
    }
    *reinterpret_cast<Packed<scalar_t, width>*>(out) = pack;
  }
};

// One row by the whole block: each group adds up every groups-th entry, and the first group adds up
// the groups.
template <typename scalar_t, int width, Entries kind>
__device__ void reduce_long_row(const scalar_t* __restrict__ src, int64_t channels, const Csr& csr,
                                int64_t row, bool mean, int lanes, const RowGroup& place,
                                scalar_t* __restrict__ out) {
  __shared__ Sum<scalar_t, width> sums[kThreadsPerBlock];
  __shared__ int32_t counts[kind == Entries::kVia ? kThreadsPerBlock : 1];
  const int32_t begin = csr.offsets[row], end = csr.offsets[row + 1];
  for (int64_t base = 0; base < channels; base += int64_t{lanes} * width) {
    const int64_t channel = base + place.lane * width;
    Sum<scalar_t, width> sum{};
    int32_t count = 0;
    if (channel < channels) {
      count = sum.template add_entries<kind>(src, channels, channel, csr, begin + place.group, end,
                                             place.groups);
    }
    sums[threadIdx.x] = sum;
    if constexpr (kind == Entries::kVia) counts[threadIdx.x] = count;
    __syncthreads();
    if (place.group == 0 && channel < channels) {
      for (int g = 1; g < place.groups; ++g) {
        sum.add(sums[g * lanes + place.lane]);
        if constexpr (kind == Entries::kVia) count += counts[g * lanes + place.lane];
      }
      if constexpr (kind != Entries::kVia) count = end - begin;
      sum.store(count, mean, out + row * channels + channel);
    }
    __syncthreads();
  }
}

template <typename scalar_t, int width, Entries kind>
__global__ void __launch_bounds__(kThreadsPerBlock, kBlocksAtOnce<scalar_t, kind>)
    csr_reduce_kernel(const scalar_t* __restrict__ src, int64_t channels, Csr csr, bool mean,
                      int lanes, scalar_t* __restrict__ out) {
  const RowGroup place(lanes);
  const auto rows = static_cast<uint32_t>(valid_rows(csr.num_rows, csr.rows));
  const auto blocks = static_cast<uint32_t>(num_blocks(rows, place.groups));
  if (blockIdx.x >= blocks) return;
  const auto length = [&](int64_t row) { return csr.offsets[row + 1] - csr.offsets[row]; };
  // Long rows tend to be neighbours, as the voxels near a sensor are: a block takes rows that are
  // as far from each other as can be.
  const auto row_of = [&](int group) { return group * blocks + blockIdx.x; };
  const uint32_t row = row_of(place.group);
  const bool is_long = row < rows && length(row) > kShortRow;
  if (row < rows && !is_long) {
    for (int64_t channel = place.lane * width; channel < channels; channel += lanes * width) {
      Sum<scalar_t, width> sum{};
      const int32_t count = sum.template add_entries<kind>(
          src, channels, channel, csr, csr.offsets[row], csr.offsets[row + 1], 1);
      sum.store(kind == Entries::kVia ? count : length(row), mean,
                out + int64_t{row} * channels + channel);
    }
  }
  if (!__syncthreads_or(is_long)) return;
  for (int group = 0; group < place.groups && row_of(group) < rows; ++group) {
    if (length(row_of(group)) > kShortRow) {
      reduce_long_row<scalar_t, width, kind>(src, channels, csr, row_of(group), mean, lanes, place,
                                             out);
    }
  }
}

template <typename scalar_t, int width>
cudaError_t launch(const scalar_t* src, int64_t channels, const Csr& csr, bool mean, scalar_t* out,
                   cudaStream_t stream) {
  const int lanes = lanes_for(channels / width);
  const int64_t blocks = num_blocks(csr.rows, kThreadsPerBlock / lanes);
  const cudaLaunchConfig_t config = launch_config(blocks, kThreadsPerBlock, stream);
  const auto kernel = csr.weights != nullptr
                          ? csr_reduce_kernel<scalar_t, width, Entries::kWeighted>
                      : csr.via != nullptr ? csr_reduce_kernel<scalar_t, width, Entries::kVia>
                                           : csr_reduce_kernel<scalar_t, width, Entries::kRows>;
  return cudaLaunchKernelEx(&config, kernel, src, channels, csr, mean, lanes, out);
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
