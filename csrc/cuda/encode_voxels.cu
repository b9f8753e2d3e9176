// A warp owns a few neighbouring voxels, whose points are neighbours in the list. Its lanes
// describe a point each, in shared memory; then each lane owns two channels, whose weights are in
// registers, and takes one point after the other.
#include "common/num_rows.h"
#include "cuda/encode_voxels.h"
#include "cuda/launch.cuh"
#include "cuda/packed.cuh"
#include "cuda/point_describer.cuh"

namespace elite_ops::cuda {
namespace {

constexpr unsigned kWholeWarp = 0xffffffffu;
constexpr int kWarps = 4;
constexpr int kTileVoxels = 8;  // of a warp at a time
constexpr int64_t kMaxBlocks = 2048;

using Quad = Packed<float, 4>;

// What describes a point: its first columns and its six offsets, in whole quads.
constexpr int kQuads = 3;
struct __align__(16) Description {
  Quad quads[kQuads];
  __device__ float& operator[](int i) { return quads[i / 4].values[i % 4]; }
};

// Two channels of a warp's tile of 64, or one in double. `kColumns` are the points' columns, whose
// weights stay in registers; 0: any number, and they are loaded where they are needed.
template <typename T, int kColumns>
struct Channels {
  using accumulate = accumulate_t<T>;
  static constexpr int kCount = sizeof(T) == 8 ? 1 : 2;
  static constexpr int kTile = kCount * kWarpSize;
  static constexpr int kKept = kColumns > 0 ? kColumns + 6 : 1;

  const VoxelEncoder<T, accumulate>& encoder;
  int32_t count;  // of all channels
  int32_t first;  // the others are kWarpSize further each
  accumulate bias[kCount];
  accumulate weights[kKept][kCount];

  __device__ Channels(const VoxelEncoder<T, accumulate>& of, int lane)
      : encoder(of),
        count(static_cast<int32_t>(of.channels)),
        first(static_cast<int32_t>(blockIdx.y) * kTile + lane) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      bias[i] = exists(i) ? static_cast<accumulate>(encoder.bias[channel(i)]) : accumulate(0);
#pragma unroll
      for (int f = 0; f < kKept && kColumns > 0; ++f) weights[f][i] = load(f, i);
    }
  }

  __device__ int32_t channel(int i) const { return first + i * kWarpSize; }
  __device__ bool exists(int i) const { return channel(i) < count; }
  __device__ accumulate load(int64_t feature, int i) const {
    if (!exists(i)) return 0;
    return static_cast<accumulate>(encoder.weight[feature * encoder.channels + channel(i)]);
  }
  __device__ accumulate weight(int64_t feature, int i) const {
    if constexpr (kColumns > 0) return weights[feature][i];
    return load(feature, i);
  }
};

// What a warp knows of the voxels of its tile, and of the points that it has described.
template <int kColumns>
struct Tile {
  // Columns in a description.
  static constexpr int kDescribed = kColumns > 0 ? kColumns : 3;
  static_assert(kDescribed + 6 <= 4 * kQuads);

  const VoxelPoints& voxels;
  Description* points;  // [kWarpSize]
  int lane;
  int32_t first_voxel;
  int count;       // of the voxels
  int32_t offset;  // where the points of this lane's voxel begin, of the lane after the last end

  __device__ Tile(const VoxelPoints& of, Description* shared, int lane_, int32_t tile,
                  int32_t num_voxels)
      : voxels(of),
        points(shared),
        lane(lane_),
        first_voxel(tile * kTileVoxels),
        count(min(num_voxels - first_voxel, kTileVoxels)) {
    offset = voxels.voxels.offsets[first_voxel + min(lane, count)];
  }

  __device__ int32_t begin(int voxel) const { return __shfl_sync(kWholeWarp, offset, voxel); }

  // The first voxel after `voxel` whose points are not all among 32 from that one's first on; at
  // least the next.
  __device__ int end_of_points(int voxel) const {
    const int32_t first = begin(voxel);
    const bool fits = lane > voxel && lane <= count && offset - first <= kWarpSize;
    const unsigned all = __ballot_sync(kWholeWarp, fits);
    return all == 0 ? voxel + 1 : kWarpSize - 1 - __clz(static_cast<int>(all));
  }

  // The lanes take the points [first, last), at most 32.
  __device__ void load(int32_t first, int32_t last) const {
    __syncwarp();  // everybody is done with the points before
    if (first + lane < last) {
      const float* point = voxels.point(first + lane);
#pragma unroll
      for (int c = 0; c < kDescribed; ++c) points[lane][c] = point[c];
    }
    __syncwarp();
  }

  // The offsets of this lane's point from the mean and the corner of its voxel.
  __device__ void describe(const float (&origins)[6]) const {
#pragma unroll
    for (int i = 0; i < 6; ++i) points[lane][kDescribed + i] = points[lane][i % 3] - origins[i];
  }

  // The origins of this lane's point, of the voxels [voxel, end), whose points are all loaded.
  __device__ void find_origins_of_lanes(int voxel, int end, float (&origins)[6]) const {
    const int32_t first = begin(voxel), e = first + lane;
    int own = voxel;
#pragma unroll
    for (int step = kTileVoxels / 2; step > 0; step /= 2) {
      const int32_t next = begin(min(own + step, end));
      if (own + step < end && next <= e) own += step;
    }
    const int32_t own_first = begin(own), own_last = begin(own + 1);
    if (e >= own_last) return;
#pragma unroll
    for (int axis = 0; axis < 3; ++axis) origins[axis] = 0;
#pragma unroll 1
    for (int32_t i = own_first - first; i < own_last - first; ++i) {
#pragma unroll
      for (int axis = 0; axis < 3; ++axis) origins[axis] += points[i][axis];
    }
#pragma unroll
    for (int axis = 0; axis < 3; ++axis) {
      origins[axis] /= static_cast<float>(own_last - own_first);
      origins[3 + axis] = voxels.corner(first_voxel + own, axis);
    }
  }
};

// This lane's channels of one voxel: sums over its points.
template <typename T, int kColumns>
struct VoxelSum {
  using Weights = Channels<T, kColumns>;
  using accumulate = accumulate_t<T>;
  accumulate values[Weights::kCount] = {};

  // The points [first, last) of the list; the tile's are described from `described` on.
  __device__ void add(const Tile<kColumns>& tile, const Weights& channels, int32_t first,
                      int32_t last, int32_t described) {
    constexpr int kDescribed = Tile<kColumns>::kDescribed;
#pragma unroll 1
    for (int32_t e = first; e < last; ++e) {
      Description point = tile.points[e - described];
      accumulate products[Weights::kCount];
#pragma unroll
      for (int i = 0; i < Weights::kCount; ++i) products[i] = channels.bias[i];
      const auto add_product = [&](int64_t feature, float value) {
#pragma unroll
        for (int i = 0; i < Weights::kCount; ++i) {
          products[i] += channels.weight(feature, i) * static_cast<accumulate>(value);
        }
      };
#pragma unroll
      for (int c = 0; c < kDescribed; ++c) add_product(c, point[c]);
      const int64_t columns = kColumns > 0 ? kColumns : tile.voxels.columns;
      for (int64_t c = kDescribed; c < columns; ++c) add_product(c, tile.voxels.point(e)[c]);
#pragma unroll
      for (int i = 0; i < 6; ++i) add_product(columns + i, point[kDescribed + i]);
#pragma unroll
      for (int i = 0; i < Weights::kCount; ++i) {
        const accumulate slope = products[i] < 0 ? channels.encoder.negative_slope : accumulate(1);
        values[i] += products[i] * slope;
      }
    }
  }

  __device__ void store(const Weights& channels, int32_t voxel, int32_t count, T* out) const {
    const accumulate scale = accumulate(1) / static_cast<accumulate>(max(count, 1));
    T* row = out + int64_t{voxel} * channels.count;
#pragma unroll
    for (int i = 0; i < Weights::kCount; ++i) {
      if (channels.exists(i)) row[channels.channel(i)] = static_cast<T>(values[i] * scale);
    }
  }
};

// The voxels [voxel, end) of a tile: several that have at most 32 points together, or one, whose
// points come 32 at a time.
template <typename T, int kColumns>
__device__ __forceinline__ void encode(const Tile<kColumns>& tile,
                                       const Channels<T, kColumns>& channels, int voxel, int end,
                                       T* out) {
  const int32_t last = tile.begin(end);
  int32_t first = tile.begin(voxel), v_first = first;
  const bool is_long = last - first > kWarpSize;
  float origins[6];
  if (is_long) find_origins(tile.voxels, tile.first_voxel + voxel, tile.lane, origins);
  VoxelSum<T, kColumns> sum;
  do {
    const int32_t described = min(first + kWarpSize, last);
    tile.load(first, described);
    if (!is_long) tile.find_origins_of_lanes(voxel, end, origins);
    if (first + tile.lane < described) tile.describe(origins);
    __syncwarp();
#pragma unroll 1
    for (int v = voxel; v < end; ++v) {
      const int32_t v_last = tile.begin(v + 1);
      sum.add(tile, channels, max(v_first, first), min(v_last, described), first);
      if (v_last > described) continue;
      sum.store(channels, tile.first_voxel + v, v_last - v_first, out);
      sum = {};
      v_first = v_last;
    }
    first = described;
  } while (first < last);
}

template <typename T, int kColumns>
__global__ void __launch_bounds__(kWarps* kWarpSize, 6)
    encode_voxels_kernel(VoxelPoints voxels, VoxelEncoder<T, accumulate_t<T>> encoder,
                         T* __restrict__ out) {
  __shared__ Description points[kWarps][kWarpSize];
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const auto num_voxels =
      static_cast<int32_t>(valid_rows(voxels.voxels.num_rows, voxels.voxels.rows));
  const int32_t tiles = (num_voxels + kTileVoxels - 1) / kTileVoxels;
  // Voxels of many points are neighbours: a block's tiles are far from each other.
  const auto blocks = static_cast<int32_t>(gridDim.x);
  const int32_t first_tile = warp * blocks + static_cast<int32_t>(blockIdx.x);
  if (first_tile >= tiles) return;
  const Channels<T, kColumns> channels(encoder, lane);
  for (int32_t i = first_tile; i < tiles; i += kWarps * blocks) {
    const Tile<kColumns> tile(voxels, points[warp], lane, i, num_voxels);
    for (int v = 0, end = 0; v < tile.count; v = end) {
      end = tile.end_of_points(v);
      encode(tile, channels, v, end, out);
    }
  }
}

}  // namespace

template <typename T>
cudaError_t encode_voxels(const VoxelPoints& voxels,
                          const VoxelEncoder<T, accumulate_t<T>>& encoder, T* out,
                          cudaStream_t stream) {
  if (voxels.voxels.rows == 0 || encoder.channels == 0) return cudaSuccess;
  constexpr int64_t kBlockVoxels = kWarps * kTileVoxels, kTile = Channels<T, 0>::kTile;
  const int64_t blocks = (voxels.voxels.rows + kBlockVoxels - 1) / kBlockVoxels;
  cudaLaunchConfig_t config =
      launch_config(std::min(blocks, kMaxBlocks), kWarps * kWarpSize, stream);
  config.gridDim.y = static_cast<unsigned>((encoder.channels + kTile - 1) / kTile);
  const auto kernel = voxels.columns == 4 ? encode_voxels_kernel<T, 4> : encode_voxels_kernel<T, 0>;
  return cudaLaunchKernelEx(&config, kernel, voxels, encoder, out);
}

#define INSTANTIATE(T)                                      \
  template cudaError_t encode_voxels<T>(const VoxelPoints&, \
                                        const VoxelEncoder<T, accumulate_t<T>>&, T*, cudaStream_t)
INSTANTIATE(float);
INSTANTIATE(double);
INSTANTIATE(__half);
INSTANTIATE(__nv_bfloat16);
#undef INSTANTIATE

}  // namespace elite_ops::cuda
