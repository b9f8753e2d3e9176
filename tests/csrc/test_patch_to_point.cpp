// The kernels against the CPU, in every layout of the map.
#include <numeric>

#include "common/error_flag.h"
#include "cpu/patch_to_point.h"
#include "cuda/accumulate.cuh"
#include "cuda/patch_to_point.h"
#include "harness.h"

namespace {

using namespace elite_ops;
using cuda::accumulate_t;
using harness::Random;

enum class Layout { kPlanes, kRows, kGaps };

constexpr Layout kLayouts[] = {Layout::kPlanes, Layout::kRows, Layout::kGaps};

// B = 3 maps of 5 x 7 cells below images of 21 x 24 pixels.
PatchMap map_of(int64_t channels, Layout layout) {
  PatchMap map{.batch = 3, .channels = channels, .height = 5, .width = 7};
  map.image_height = 21;
  map.image_width = 24;
  const int64_t gap = layout == Layout::kGaps ? 2 : 1;  // every other element in each direction
  const bool rows = layout == Layout::kRows;
  map.channel_stride = rows ? 1 : gap * 35 * gap;
  map.col_stride = rows ? channels : gap;
  map.row_stride = map.col_stride * 7;
  map.batch_stride = rows ? channels * 35 : map.channel_stride * channels;
  return map;
}

int64_t elements(const PatchMap& map) { return map.batch * map.batch_stride; }

// The values as they are after rounding to scalar_t, in the CPU's type.
template <typename scalar_t>
std::vector<accumulate_t<scalar_t>> widened(const std::vector<scalar_t>& values) {
  std::vector<accumulate_t<scalar_t>> wide;
  for (const scalar_t v : values) wide.push_back(static_cast<accumulate_t<scalar_t>>(v));
  return wide;
}

// Pixels in no order, many of them more than once; image 1 has none.
struct Pixels {
  int64_t num_points;
  std::vector<int32_t> pixel;
  std::vector<int64_t> batch_index;

  Pixels(int64_t n, const PatchMap& map, uint64_t seed) : num_points(n) {
    Random random(seed);
    for (int64_t p = 0; p < n; ++p) {
      pixel.push_back(static_cast<int32_t>(random.integer(map.image_height)));
      pixel.push_back(static_cast<int32_t>(random.integer(map.image_width)));
      batch_index.push_back(2 * random.integer(2));
    }
  }
};

// The points by cell; those without one last.
struct ByCell {
  std::vector<int32_t> order, offsets;

  ByCell(const std::vector<int32_t>& cell, int64_t num_cells)
      : order(cell.size()), offsets(num_cells + 1, 0) {
    const auto key = [&](int32_t p) { return cell[p] < 0 ? num_cells : cell[p]; };
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int32_t a, int32_t b) { return key(a) < key(b); });
    for (const int32_t c : cell) {
      if (c >= 0) ++offsets[c + 1];
    }
    std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
  }
};

template <typename scalar_t>
struct Sampled {
  std::vector<scalar_t> out;
  std::vector<int32_t> cell;
};

template <typename scalar_t>
Sampled<scalar_t> sample_cuda(const std::vector<scalar_t>& patches, const PatchMap& map,
                              const Pixels& at, int32_t* error_flag) {
  Sampled<scalar_t> got{std::vector<scalar_t>(at.num_points * map.channels, scalar_t(-7.f)),
                        std::vector<int32_t>(at.num_points, -7)};
  CHECK(cuda::patch_to_point(patches.data(), map, at.pixel.data(), at.batch_index.data(),
                             at.num_points, got.out.data(), got.cell.data(), error_flag,
                             nullptr) == cudaSuccess);
  return got;
}

template <typename scalar_t>
void check(int64_t num_points, int64_t channels, Layout layout, double tolerance) {
  using accumulate = accumulate_t<scalar_t>;
  const PatchMap map = map_of(channels, layout);
  const Pixels at(num_points, map, num_points);
  const auto patches = Random(channels).uniform_vector<scalar_t>(elements(map));
  int32_t error_flag = 0;
  const auto got = sample_cuda(patches, map, at, &error_flag);
  const auto wide = widened(patches);
  std::vector<accumulate> want(num_points * channels);
  std::vector<int32_t> cell(num_points);
  cpu::patch_to_point(wide.data(), map, at.pixel.data(), at.batch_index.data(), num_points,
                      want.data(), cell.data());
  CHECK_CLOSE(widened(got.out), want, tolerance);
  CHECK_EQUAL(got.cell, cell);
  CHECK(error_flag == 0);

  // The gradient; what lies between the cells stays untouched.
  const ByCell by_cell(cell, map.batch * map.height * map.width);
  std::vector<scalar_t> gradient(elements(map), scalar_t(-7.f));
  std::vector<accumulate> want_gradient(elements(map), accumulate(-7));
  CHECK(cuda::patch_to_point_backward(got.out.data(), at.pixel.data(), by_cell.order.data(),
                                      by_cell.offsets.data(), map, gradient.data(),
                                      nullptr) == cudaSuccess);
  const auto grad_out = widened(got.out);
  cpu::patch_to_point_backward(grad_out.data(), at.pixel.data(), by_cell.order.data(),
                               by_cell.offsets.data(), map, want_gradient.data());
  CHECK_CLOSE(widened(gradient), want_gradient, tolerance);
}

}  // namespace

CASE(equals_cpu_in_every_layout) {
  for (const Layout layout : kLayouts) {
    for (const int64_t num_points : {0, 1, 31, 33, 300}) check<float>(num_points, 3, layout, 1e-6);
    for (const int64_t channels : {1, 32, 33, 130}) check<float>(70, channels, layout, 1e-6);
  }
}

CASE(equals_cpu_in_every_type) {
  for (const Layout layout : kLayouts) {
    check<double>(100, 5, layout, 1e-14);
    check<__half>(100, 5, layout, 2e-3);
    check<__nv_bfloat16>(100, 5, layout, 1e-2);
  }
}

CASE(points_outside_are_zero_have_no_cell_and_are_reported) {
  for (const Layout layout : kLayouts) {
    const PatchMap map = map_of(3, layout);
    const auto patches = Random(1).uniform_vector<float>(elements(map));
    for (int what = 0; what < 6; ++what) {
      Pixels at(50, map, 2);
      int32_t error_flag = 0;
      auto want = sample_cuda(patches, map, at, &error_flag);
      CHECK(error_flag == 0);
      if (what < 2) at.batch_index[40] = what == 0 ? -1 : 3;
      if (what == 2 || what == 3) at.pixel[2 * 40] = what == 2 ? -1 : map.image_height;
      if (what == 4 || what == 5) at.pixel[2 * 40 + 1] = what == 4 ? -1 : map.image_width;
      std::fill_n(want.out.begin() + 40 * 3, 3, 0.f);
      want.cell[40] = -1;
      const auto got = sample_cuda(patches, map, at, &error_flag);
      CHECK_EQUAL(got.out, want.out);
      CHECK_EQUAL(got.cell, want.cell);
      CHECK(error_flag == kIndexOutOfRange);
      CHECK(cpu::first_outside(at.pixel.data(), at.batch_index.data(), 50, map) == 40);
    }
  }
}

CASE(all_points_at_one_pixel) {
  const PatchMap map = map_of(3, Layout::kPlanes);
  Pixels at(500, map, 3);
  for (int64_t p = 0; p < 500; ++p) {
    at.pixel[2 * p] = 20;  // the far corner, where the stencil is one cell
    at.pixel[2 * p + 1] = 23;
    at.batch_index[p] = 2;
  }
  const ByCell by_cell(std::vector<int32_t>(500, 104), 105);
  const std::vector<float> grad_out(500 * 3, 1.f);
  std::vector<float> gradient(elements(map)), want(elements(map));
  CHECK(cuda::patch_to_point_backward(grad_out.data(), at.pixel.data(), by_cell.order.data(),
                                      by_cell.offsets.data(), map, gradient.data(),
                                      nullptr) == cudaSuccess);
  for (int64_t c = 0; c < 3; ++c) want[map.offset(2, 4, 6) + c * map.channel_stride] = 500;
  CHECK_EQUAL(gradient, want);
}

// A map of 2^33 elements: offsets are computed in 64 bits.
CASE(offsets_of_large_maps) {
  const PatchMap map{.batch = 4,
                     .channels = 1 << 11,
                     .height = 1 << 10,
                     .width = 1 << 10,
                     .batch_stride = int64_t{1} << 31,
                     .channel_stride = 1 << 20,
                     .row_stride = 1 << 10,
                     .col_stride = 1,
                     .image_height = 1 << 12,
                     .image_width = 1 << 12};
  const Taps<float> taps(map, 3, (1 << 12) - 1, (1 << 12) - 1);
  CHECK(taps.offsets[3] == (int64_t{3} << 31) + (1 << 20) - 1);
  CHECK(taps.cell == (4 << 20) - 1);
}
