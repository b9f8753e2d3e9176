#include "cpu/patch_to_point.h"

#include <algorithm>
#include <vector>

#include "cpu/csr_rows.h"
#include "cpu/parallel.h"

namespace elite_ops::cpu {
namespace {

// Points, or cells, that are worked on together, so that a map with distant channels is read and
// written plane by plane: its channels often lie a multiple of the cache's way size apart, and
// would evict each other.
constexpr int64_t kBlock = 64;

// out [size, C]. The loop over what is adjacent in the map is the inner one.
template <typename scalar_t>
void sample_block(const scalar_t* patches, const PatchMap& map,
                  const std::vector<Taps<scalar_t>>& taps, scalar_t* out) {
  const int64_t size = taps.size();
  if (map.channel_stride == 1) {
    for (int64_t i = 0; i < size; ++i) {
      for (int64_t c = 0; c < map.channels; ++c) {
        out[i * map.channels + c] = taps[i].blend(patches + c);
      }
    }
  } else {
    for (int64_t c = 0; c < map.channels; ++c) {
      const scalar_t* plane = patches + c * map.channel_stride;
      for (int64_t i = 0; i < size; ++i) out[i * map.channels + c] = taps[i].blend(plane);
    }
  }
}

// What a cell's gradient needs, and the points that it comes from.
template <typename scalar_t>
struct Scatter {
  const scalar_t* grad_out;
  const int32_t* pixel;
  const int32_t* order;
  const int32_t* offsets;
  const PatchMap& map;

  // Adds to sum [C] what cell (row, col) gets from points whose lower cell is in `from_row`. The
  // points of cells col - 1 and col are adjacent in `order`.
  void add_row(int64_t image, int32_t from_row, int32_t row, int32_t col, scalar_t* sum) const {
    const int64_t first_cell = (image * map.height + from_row) * map.width;
    const int32_t begin = offsets[first_cell + std::max(col - 1, 0)];
    const int32_t end = offsets[first_cell + col + 1];
    for (int32_t e = begin; e < end; ++e) {
      const int64_t p = order[e];
      const auto rows = stencil<scalar_t>(pixel[2 * p], map.height, map.image_height);
      const auto cols = stencil<scalar_t>(pixel[2 * p + 1], map.width, map.image_width);
      const scalar_t weight = rows.weight_of(row) * cols.weight_of(col);
      const scalar_t* grad = grad_out + p * map.channels;
      for (int64_t c = 0; c < map.channels; ++c) sum[c] += weight * grad[c];
    }
  }

  // The gradient [C] of one cell, its points in a fixed order.
  void cell(int64_t image, int32_t row, int32_t col, scalar_t* sum) const {
    std::fill_n(sum, map.channels, scalar_t(0));
    if (row > 0) add_row(image, row - 1, row, col, sum);
    add_row(image, row, row, col, sum);
  }
};

// sums [size, C] to cells that begin at `grad` and lie col_stride apart.
template <typename scalar_t>
void store_block(const scalar_t* sums, const PatchMap& map, int64_t size, scalar_t* grad) {
  if (map.channel_stride == 1) {
    for (int64_t i = 0; i < size; ++i) {
      std::copy_n(sums + i * map.channels, map.channels, grad + i * map.col_stride);
    }
  } else {
    for (int64_t c = 0; c < map.channels; ++c) {
      scalar_t* plane = grad + c * map.channel_stride;
      for (int64_t i = 0; i < size; ++i) plane[i * map.col_stride] = sums[i * map.channels + c];
    }
  }
}

}  // namespace

int64_t first_outside(const int32_t* pixel, const int64_t* batch_index, int64_t num_points,
                      const PatchMap& map) {
  for (int64_t p = 0; p < num_points; ++p) {
    if (!has_pixel(map, batch_index[p], pixel[2 * p], pixel[2 * p + 1])) return p;
  }
  return -1;
}

template <typename scalar_t>
void patch_to_point(const scalar_t* patches, const PatchMap& map, const int32_t* pixel,
                    const int64_t* batch_index, int64_t num_points, scalar_t* out, int32_t* cell) {
  parallel_for(0, (num_points + kBlock - 1) / kBlock, 4, [&](int64_t begin, int64_t end) {
    std::vector<Taps<scalar_t>> taps;
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * kBlock;
      const int64_t size = std::min(kBlock, num_points - first);
      taps.clear();
      for (int64_t p = first; p < first + size; ++p) {
        taps.emplace_back(map, batch_index[p], pixel[2 * p], pixel[2 * p + 1]);
        cell[p] = taps.back().cell;
      }
      sample_block(patches, map, taps, out + first * map.channels);
    }
  });
}

template <typename scalar_t>
void patch_to_point_backward(const scalar_t* grad_out, const int32_t* pixel, const int32_t* order,
                             const int32_t* offsets, const PatchMap& map, scalar_t* grad_patches) {
  const Scatter<scalar_t> scatter{grad_out, pixel, order, offsets, map};
  const int64_t num_cells = map.batch * map.height * map.width;
  parallel_for_rows(offsets, num_cells, map.channels, [&](int64_t begin, int64_t end) {
    std::vector<scalar_t> sums(kBlock * map.channels);
    for (int64_t cell = begin, size; cell < end; cell += size) {
      const int64_t line = cell / map.width, first = cell % map.width;
      const int64_t image = line / map.height;
      const int32_t row = static_cast<int32_t>(line % map.height);
      size = std::min({kBlock, map.width - first, end - cell});
      for (int64_t i = 0; i < size; ++i) {
        scatter.cell(image, row, static_cast<int32_t>(first + i), sums.data() + i * map.channels);
      }
      store_block(sums.data(), map, size, grad_patches + map.offset(image, row, first));
    }
  });
}

#define ELITE_INSTANTIATE(scalar_t)                                                                \
  template void patch_to_point<scalar_t>(const scalar_t*, const PatchMap&, const int32_t*,         \
                                         const int64_t*, int64_t, scalar_t*, int32_t*);            \
  template void patch_to_point_backward<scalar_t>(const scalar_t*, const int32_t*, const int32_t*, \
                                                  const int32_t*, const PatchMap&, scalar_t*);
ELITE_INSTANTIATE(float)
ELITE_INSTANTIATE(double)
#undef ELITE_INSTANTIATE

}  // namespace elite_ops::cpu
