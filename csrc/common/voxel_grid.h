// The geometry of a voxel grid: the cell of a point, and the bit of a cell in an occupancy bitmap.
//
// The bitmap gives every (batch, x, y) column its z bits, in one or more 64-bit words. Words in
// their order, and bits from the lowest, enumerate the cells by (batch, x, y, z).
#pragma once

#include <cstdint>

#include "host_device.h"

namespace elite_ops {

// float32 holds every integer up to here, so a cell number survives the arithmetic of `cell_of`.
constexpr int64_t kMaxCellsPerAxis = int64_t{1} << 24;
// Scales of one call, and its grids with the halved ones: kernels take them by value.
constexpr int kMaxScales = 16;
constexpr int kMaxGrids = 2 * kMaxScales;

// A box in space (m). The extent is max - min, rounded to float32 once.
struct PointRange {
  float min[3];
  float max[3];
  float extent[3];

  // Strictly inside; a NaN is not.
  ELITE_HOST_DEVICE bool contains(const float* p) const {
    return p[0] > min[0] && p[0] < max[0] && p[1] > min[1] && p[1] < max[1] && p[2] > min[2] &&
           p[2] < max[2];
  }
};

// trunc(cells * (p - min) / extent) in float32, in this order: the formula that checkpoints depend
// on. No product is followed by a sum, so no compiler can fuse the two and change a bit. For p
// strictly inside the range the quotient may still round up to `cells`: such a point is in the
// last.
ELITE_HOST_DEVICE inline int32_t cell_of(float p, float min, float extent, int32_t cells) {
  const float size = static_cast<float>(cells);
  const float position = size * (p - min) / extent;
  return position < size ? static_cast<int32_t>(position) : cells - 1;
}

// N rows of `stride` floats, x y z (m) first; without a batch index every point is in sample 0.
struct PointRows {
  const float* xyz;
  int64_t num_points;
  int64_t stride;
  const int64_t* batch_index;  // [N], or null

  ELITE_HOST_DEVICE const float* at(int64_t i) const { return xyz + i * stride; }
  ELITE_HOST_DEVICE int64_t sample(int64_t i) const {
    return batch_index == nullptr ? 0 : batch_index[i];
  }
};

// The cells of one scale, and their bits in the bitmap.
struct VoxelGrid {
  int32_t shape[3];  // cells along x, y, z
  // A point is first located among `cells` cells per axis, and that cell is divided by `divisor`:
  // shape and 1, or those of scale 1 and the scale, which makes a nested grid.
  int32_t cells[3];
  int32_t divisor;
  int64_t batch_size;

  ELITE_HOST_DEVICE int32_t cell(const PointRange& range, const float* p, int axis) const {
    const int32_t cell = cell_of(p[axis], range.min[axis], range.extent[axis], cells[axis]);
    return divisor == 1 ? cell : cell / divisor;
  }

  ELITE_HOST_DEVICE int64_t words_per_column() const { return (int64_t{shape[2]} + 63) / 64; }
  ELITE_HOST_DEVICE int64_t num_words() const {
    return batch_size * shape[0] * shape[1] * words_per_column();
  }

  // The key of a cell: its bit number, which is word * 64 + place in the word.
  ELITE_HOST_DEVICE int64_t key(int64_t batch, int64_t x, int64_t y, int64_t z) const {
    return ((batch * shape[0] + x) * shape[1] + y) * words_per_column() * 64 + z;
  }
  ELITE_HOST_DEVICE int64_t key(const PointRange& range, const float* p, int64_t batch) const {
    return key(batch, cell(range, p, 0), cell(range, p, 1), cell(range, p, 2));
  }

  // The cell of a key: batch, x, y, z. Divisions are slow: give a key that fits in 32 bits as such.
  template <typename key_t>
  ELITE_HOST_DEVICE void unpack(key_t key, int32_t* index) const {
    const auto bits_per_column = static_cast<key_t>(words_per_column() * 64);
    const auto size_x = static_cast<key_t>(shape[0]), size_y = static_cast<key_t>(shape[1]);
    const key_t column = key / bits_per_column, row = column / size_y;
    index[0] = static_cast<int32_t>(row / size_x);
    index[1] = static_cast<int32_t>(row % size_x);
    index[2] = static_cast<int32_t>(column % size_y);
    index[3] = static_cast<int32_t>(key % bits_per_column);
  }
};

// The grid of a scale, of ceil(fine / scale) cells along each axis.
inline VoxelGrid make_grid(const int64_t* fine, int64_t scale, int64_t batch_size, bool nested) {
  VoxelGrid grid;
  for (int axis = 0; axis < 3; ++axis) {
    grid.shape[axis] = static_cast<int32_t>((fine[axis] + scale - 1) / scale);
    grid.cells[axis] = nested ? static_cast<int32_t>(fine[axis]) : grid.shape[axis];
  }
  grid.divisor = nested ? static_cast<int32_t>(scale) : 1;
  grid.batch_size = batch_size;
  return grid;
}

// The grid whose cells are each 2 x 2 x 2 cells of `grid`.
inline VoxelGrid halved(VoxelGrid grid) {
  for (int32_t& size : grid.shape) size = (size + 1) / 2;
  grid.divisor *= 2;
  return grid;
}

// Whether a grid is served by the bitmap, or by sorting keys. The cost of a bitmap is one pass over
// its words, that of a sort grows with the rows: few rows in a large grid are better sorted, and no
// bitmap takes more than 128 MiB.
constexpr int64_t kMaxBitmapWords = int64_t{1} << 24;
constexpr int64_t kSmallBitmapWords = int64_t{1} << 20;
constexpr int64_t kBitmapWordsPerRow = 256;

inline bool uses_bitmap(int64_t words, int64_t rows) {
  return words <= kMaxBitmapWords && words <= kSmallBitmapWords + kBitmapWordsPerRow * rows;
}

}  // namespace elite_ops
