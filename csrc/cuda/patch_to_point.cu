#include "common/error_flag.h"
#include "cuda/accumulate.cuh"
#include "cuda/launch.cuh"
#include "cuda/patch_to_point.h"

namespace elite_ops::cuda {
namespace {

constexpr int kWarpSize = 32;
constexpr int kWarps = kThreadsPerBlock / kWarpSize;
constexpr int kTile = kWarpSize;  // points, or cells, that a block takes where it transposes
constexpr int kCellChannels = 4;  // channels of a lane, so that a cell's points are walked seldom
constexpr int kTileChannels = kCellChannels * kWarpSize;

// The pixels to sample, and what becomes of those outside.
struct Points {
  const int32_t* pixel;
  const int64_t* batch_index;
  int64_t num_points;
  int32_t* cell;
  int32_t* error_flag;

  __device__ __forceinline__ bool inside(const PatchMap& map, int64_t p) const {
    return p < num_points && has_pixel(map, batch_index[p], pixel[2 * p], pixel[2 * p + 1]);
  }

  template <typename accumulate>
  __device__ __forceinline__ Taps<accumulate> taps(const PatchMap& map, int64_t p) const {
    return {map, batch_index[p], pixel[2 * p], pixel[2 * p + 1]};
  }

  // One thread per point calls this.
  __device__ __forceinline__ void store_cell(int64_t p, bool is_inside, int32_t number) const {
    cell[p] = is_inside ? number : -1;
    if (!is_inside) atomicOr(error_flag, kIndexOutOfRange);
  }
};

// Channels adjacent in the map: a warp per point, lanes along the channels.
template <typename scalar_t>
__global__ void sample_rows_kernel(const scalar_t* __restrict__ patches, PatchMap map,
                                   Points points, scalar_t* __restrict__ out) {
  using accumulate = accumulate_t<scalar_t>;
  const int64_t p = global_thread() / kWarpSize;
  if (p >= points.num_points) return;
  const int lane = threadIdx.x % kWarpSize;
  const bool inside = points.inside(map, p);
  scalar_t* row = out + p * map.channels;
  if (!inside) {
    for (int64_t c = lane; c < map.channels; c += kWarpSize) row[c] = scalar_t(0.f);
    if (lane == 0) points.store_cell(p, false, -1);
    return;
  }
  const auto taps = points.taps<accumulate>(map, p);
  for (int64_t c = lane; c < map.channels; c += kWarpSize) {
    row[c] = static_cast<scalar_t>(taps.blend(patches + c));
  }
  if (lane == 0) points.store_cell(p, true, taps.cell);
}

// Channels far apart: lanes along the points, which lie near each other in a scan and in the map,
// and through shared memory to rows of channels.
template <typename scalar_t>
__global__ void sample_planes_kernel(const scalar_t* __restrict__ patches, PatchMap map,
                                     Points points, scalar_t* __restrict__ out) {
  using accumulate = accumulate_t<scalar_t>;
  __shared__ accumulate tile[kWarpSize][kTile + 1];  // [channel][point]
  const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kTile, p = first + lane;
  const bool inside = points.inside(map, p);
  const Taps<accumulate> taps =
      inside ? points.taps<accumulate>(map, p) : Taps<accumulate>(map, 0, 0, 0);
  if (warp == 0 && p < points.num_points) points.store_cell(p, inside, taps.cell);
  for (int64_t base = 0; base < map.channels; base += kWarpSize) {
    for (int c = warp; c < kWarpSize && base + c < map.channels; c += kWarps) {
      const scalar_t* plane = patches + (base + c) * map.channel_stride;
      tile[c][lane] = inside ? taps.blend(plane) : accumulate(0);
    }
    __syncthreads();
    for (int i = warp; i < kTile && first + i < points.num_points; i += kWarps) {
      if (base + lane < map.channels) {
        out[(first + i) * map.channels + base + lane] = static_cast<scalar_t>(tile[lane][i]);
      }
    }
    __syncthreads();
  }
}

// The gradient of the map's cells, each gathered from the points around it in a fixed order.
template <typename scalar_t>
struct Gradient {
  using accumulate = accumulate_t<scalar_t>;
  const scalar_t* grad_out;
  const int32_t* pixel;
  const int32_t* order;
  const int32_t* offsets;
  PatchMap map;

  // Adds to `sums` what cell (row, col) gets from points whose lower cell is in `from_row`:
  // channels channel, channel + 32, ... The points of cells col - 1 and col are adjacent in
  // `order`.
  __device__ __forceinline__ void add_row(int64_t image, int32_t from_row, int32_t row, int32_t col,
                                          int64_t channel,
                                          accumulate (&sums)[kCellChannels]) const {
    const int64_t first_cell = (image * map.height + from_row) * map.width;
    const int32_t end = offsets[first_cell + col + 1];
    for (int32_t e = offsets[first_cell + (col > 0 ? col - 1 : 0)]; e < end; ++e) {
      const int64_t p = order[e];
      const auto rows = stencil<accumulate>(pixel[2 * p], map.height, map.image_height);
      const auto cols = stencil<accumulate>(pixel[2 * p + 1], map.width, map.image_width);
      const accumulate weight = rows.weight_of(row) * cols.weight_of(col);
      for (int k = 0; k < kCellChannels; ++k) {
        const int64_t c = channel + k * kWarpSize;
        if (c < map.channels) {
          sums[k] += weight * static_cast<accumulate>(grad_out[p * map.channels + c]);
        }
      }
    }
  }

  __device__ __forceinline__ void sum_cell(int64_t cell, int64_t channel,
                                           accumulate (&sums)[kCellChannels]) const {
    const int64_t line = cell / map.width, image = line / map.height;
    const int32_t row = static_cast<int32_t>(line % map.height);
    const int32_t col = static_cast<int32_t>(cell % map.width);
    for (accumulate& sum : sums) sum = accumulate(0);
    if (row > 0) add_row(image, row - 1, row, col, channel, sums);
    add_row(image, row, row, col, channel, sums);
  }

  __device__ __forceinline__ int64_t offset(int64_t cell) const {
    const int64_t line = cell / map.width;
    return map.offset(line / map.height, line % map.height, cell % map.width);
  }
};

// Channels adjacent in the map: a warp per cell.
template <typename scalar_t>
__global__ void gather_rows_kernel(Gradient<scalar_t> gradient, int64_t num_cells,
                                   scalar_t* __restrict__ grad_patches) {
  const int64_t cell = global_thread() / kWarpSize;
  if (cell >= num_cells) return;
  scalar_t* out = grad_patches + gradient.offset(cell);
  for (int64_t c = threadIdx.x % kWarpSize; c < gradient.map.channels; c += kTileChannels) {
    accumulate_t<scalar_t> sums[kCellChannels];
    gradient.sum_cell(cell, c, sums);
    for (int k = 0; k < kCellChannels && c + k * kWarpSize < gradient.map.channels; ++k) {
      out[c + k * kWarpSize] = static_cast<scalar_t>(sums[k]);
    }
  }
}

// Channels far apart: cells are gathered as rows and stored, through shared memory, as planes.
template <typename scalar_t>
__global__ void gather_planes_kernel(Gradient<scalar_t> gradient, int64_t num_cells,
                                     scalar_t* __restrict__ grad_patches) {
  using accumulate = accumulate_t<scalar_t>;
  __shared__ accumulate tile[kTileChannels][kTile + 1];  // [channel][cell]
  const PatchMap& map = gradient.map;
  const int lane = threadIdx.x % kWarpSize, warp = threadIdx.x / kWarpSize;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kTile;
  for (int64_t base = 0; base < map.channels; base += kTileChannels) {
    for (int i = warp; i < kTile && first + i < num_cells; i += kWarps) {
      accumulate sums[kCellChannels];
      gradient.sum_cell(first + i, base + lane, sums);
      for (int k = 0; k < kCellChannels; ++k) tile[lane + k * kWarpSize][i] = sums[k];
    }
    __syncthreads();
    if (first + lane < num_cells) {
      scalar_t* out = grad_patches + gradient.offset(first + lane);
      for (int c = warp; c < kTileChannels && base + c < map.channels; c += kWarps) {
        out[(base + c) * map.channel_stride] = static_cast<scalar_t>(tile[c][lane]);
      }
    }
    __syncthreads();
  }
}

}  // namespace

template <typename scalar_t>
cudaError_t patch_to_point(const scalar_t* patches, const PatchMap& map, const int32_t* pixel,
                           const int64_t* batch_index, int64_t num_points, scalar_t* out,
                           int32_t* cell, int32_t* error_flag, cudaStream_t stream) {
  if (num_points == 0) return cudaSuccess;
  const Points points{pixel, batch_index, num_points, cell, error_flag};
  if (map.channel_stride == 1) {
    const cudaLaunchConfig_t config = one_thread_per(num_points * kWarpSize, stream);
    return cudaLaunchKernelEx(&config, sample_rows_kernel<scalar_t>, patches, map, points, out);
  }
  const cudaLaunchConfig_t config =
      launch_config((num_points + kTile - 1) / kTile, kThreadsPerBlock, stream);
  return cudaLaunchKernelEx(&config, sample_planes_kernel<scalar_t>, patches, map, points, out);
}

template <typename scalar_t>
cudaError_t patch_to_point_backward(const scalar_t* grad_out, const int32_t* pixel,
                                    const int32_t* order, const int32_t* offsets,
                                    const PatchMap& map, scalar_t* grad_patches,
                                    cudaStream_t stream) {
  const int64_t num_cells = map.batch * map.height * map.width;
  if (num_cells == 0) return cudaSuccess;
  const Gradient<scalar_t> gradient{grad_out, pixel, order, offsets, map};
  if (map.channel_stride == 1) {
    const cudaLaunchConfig_t config = one_thread_per(num_cells * kWarpSize, stream);
    return cudaLaunchKernelEx(&config, gather_rows_kernel<scalar_t>, gradient, num_cells,
                              grad_patches);
  }
  const cudaLaunchConfig_t config =
      launch_config((num_cells + kTile - 1) / kTile, kThreadsPerBlock, stream);
  return cudaLaunchKernelEx(&config, gather_planes_kernel<scalar_t>, gradient, num_cells,
                            grad_patches);
}

#define ELITE_INSTANTIATE(scalar_t)                                                                \
  template cudaError_t patch_to_point<scalar_t>(const scalar_t*, const PatchMap&, const int32_t*,  \
                                                const int64_t*, int64_t, scalar_t*, int32_t*,      \
                                                int32_t*, cudaStream_t);                           \
  template cudaError_t patch_to_point_backward<scalar_t>(                                          \
      const scalar_t*, const int32_t*, const int32_t*, const int32_t*, const PatchMap&, scalar_t*, \
      cudaStream_t);
ELITE_INSTANTIATE(float)
ELITE_INSTANTIATE(double)
ELITE_INSTANTIATE(__half)
ELITE_INSTANTIATE(__nv_bfloat16)
#undef ELITE_INSTANTIATE

}  // namespace elite_ops::cuda
