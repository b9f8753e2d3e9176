// The kernels between points, voxels and pixels.
#include "cpu/devoxelize.h"
#include "cpu/hard_voxelize.h"
#include "cpu/kernel_map.h"
#include "cpu/nearest_rows.h"
#include "cpu/nms.h"
#include "cpu/order_rows.h"
#include "cpu/output_voxels.h"
#include "cpu/patch_to_point.h"
#include "cpu/project_points.h"
#include "cpu/serialize.h"
#include "cpu/voxel_slots.h"
#include "cpu/voxelize.h"
#include "segment_cases.h"
#include "threads.h"

using namespace elite_ops;
using threads::check_same_bits;
using threads::results;

namespace {

constexpr int64_t kBatchSize = 2;

struct Voxels {
  std::vector<int32_t> inverse, indices, counts;

  explicit Voxels(int64_t num_points) : inverse(num_points) {}
  cpu::VoxelRows allocate(int64_t num_voxels) {
    indices.resize(num_voxels * 4);
    counts.resize(num_voxels);
    return {indices.data(), counts.data()};
  }
  int64_t num_voxels() const { return static_cast<int64_t>(counts.size()); }
  threads::Results results() const { return threads::results(inverse, indices, counts); }
};

// Enough for a range of points, and one of voxels, for each of two threads and more.
struct Cloud {
  static constexpr int64_t kPoints = 40'000;
  std::vector<float> xyz;
  std::vector<int64_t> batch_index;

  Cloud() {
    harness::Random random(1);
    xyz = random.uniform_vector<float>(kPoints * 4, -1.2f, 1.2f);
    for (int64_t i = 0; i < kPoints; ++i) batch_index.push_back(random.integer(kBatchSize));
  }

  PointRows rows() const { return {xyz.data(), kPoints, 4, batch_index.data()}; }

  Voxels voxelize(const VoxelGrid& grid) const {
    Voxels voxels(kPoints);
    cpu::voxelize(rows(), {{-1, -1, -1}, {1, 1, 1}, {2, 2, 2}}, grid, voxels.inverse.data(),
                  [&](int64_t num_voxels) { return voxels.allocate(num_voxels); });
    return voxels;
  }
};

VoxelGrid grid_of(std::vector<int64_t> shape) {
  return make_grid(shape.data(), 1, kBatchSize, false);
}

constexpr int64_t kShape[] = {60, 50, 40};
const KernelGeometry kKernel = submanifold_geometry({3, 3, 3}, {1, 1, 1});

std::vector<int32_t> kernel_map_of(const std::vector<int32_t>& indices) {
  const auto num_voxels = static_cast<int64_t>(indices.size()) / 4;
  std::vector<int32_t> neighbors(kKernel.num_offsets() * num_voxels);
  const VoxelSet voxels{indices.data(), num_voxels, grid_of({kShape[0], kShape[1], kShape[2]})};
  CHECK(cpu::build_kernel_map(voxels, kKernel, num_voxels, neighbors.data()).kind ==
        cpu::VoxelSetError::kNone);
  return neighbors;
}

std::vector<int32_t> sorted_voxels() {
  return Cloud().voxelize(grid_of({kShape[0], kShape[1], kShape[2]})).indices;
}

}  // namespace

CASE(voxelize_by_bitmap) {
  const Cloud cloud;
  check_same_bits([&] { return cloud.voxelize(grid_of({60, 50, 40})).results(); });
  CHECK(cpu::first_outside_batch(cloud.rows(), kBatchSize) == Cloud::kPoints);
}

// Too many cells for a bitmap. One thread sorts.
CASE(voxelize_by_sort) {
  const Cloud cloud;
  const VoxelGrid grid = grid_of({3000, 3000, 40});
  CHECK(!uses_bitmap(grid.num_words(), Cloud::kPoints));
  check_same_bits([&] { return cloud.voxelize(grid).results(); });
}

// Fine enough that voxels and slots are shared by threads too, and limits that both bind.
CASE(hard_voxelize_and_its_slots) {
  const Cloud cloud;
  const CellGrid grid{{-1, -1, -1}, {0.04f, 0.04f, 0.05f}, {50, 50, 40}, kBatchSize};
  Voxels voxels(Cloud::kPoints);
  std::vector<int32_t> slots(Cloud::kPoints);
  const auto number = [&](Voxels& v, std::vector<int32_t>& s) {
    cpu::hard_voxelize(cloud.rows(), grid, {2, 9000}, {v.inverse.data(), s.data()},
                       [&](int64_t num_voxels) { return v.allocate(num_voxels); });
  };
  check_same_bits([&] {
    Voxels v(Cloud::kPoints);
    std::vector<int32_t> s(Cloud::kPoints);
    number(v, s);
    return results(v.inverse, v.indices, v.counts, s);
  });

  number(voxels, slots);
  const PointSlots places{voxels.inverse.data(),
                          slots.data(),
                          voxels.counts.data(),
                          Cloud::kPoints,
                          voxels.num_voxels(),
                          2,
                          4};
  const auto* points = reinterpret_cast<const uint32_t*>(cloud.xyz.data());
  const auto fill = [&] {
    std::vector<uint32_t> filled(places.num_elements());
    cpu::fill_slots(points, places, filled.data());
    return filled;
  };
  check_same_bits([&] { return results(fill()); });
  const std::vector<uint32_t> filled = fill();
  check_same_bits([&] {
    std::vector<uint32_t> taken(Cloud::kPoints * 4);
    cpu::take_slots(filled.data(), places, taken.data());
    return results(taken);
  });
}

CASE(serialize) {
  const std::vector<int32_t> indices = sorted_voxels();
  const auto num_voxels = static_cast<int64_t>(indices.size()) / 4;
  for (const bool hilbert : {false, true}) {
    check_same_bits([&] {
      std::vector<int64_t> codes(num_voxels);
      const CurveArguments curve{hilbert, false, 6};
      CHECK(cpu::first_without_code(indices.data(), num_voxels, curve) == num_voxels);
      cpu::serialize(indices.data(), num_voxels, curve, codes.data());
      return results(codes);
    });
  }
}

CASE(devoxelize) {
  const Cloud cloud;
  const VoxelGrid grid = grid_of({60, 50, 40});
  const std::vector<int32_t> indices = sorted_voxels();
  const VoxelSet voxels{indices.data(), static_cast<int64_t>(indices.size()) / 4, grid};
  const cpu::VoxelIndex index(voxels, cpu::CellKeys(grid));
  for (const bool nearest : {false, true}) {
    const Devoxelization call{cloud.rows(), {{-1, -1, -1}, {1, 1, 1}, {2, 2, 2}}, grid, nearest};
    check_same_bits([&] {
      std::vector<int32_t> rows(Cloud::kPoints * call.corners());
      std::vector<float> weights(rows.size());
      cpu::devoxelize(call, index, rows.data(), weights.data());
      return results(rows, weights);
    });
  }
}

CASE(halve_voxels) {
  const VoxelGrid grid = grid_of({60, 50, 40});
  const Voxels fine = Cloud().voxelize(grid);
  check_same_bits([&] {
    Voxels coarse(fine.num_voxels());
    cpu::halve_voxels(fine.indices.data(), fine.num_voxels(), halved(grid), coarse.inverse.data(),
                      [&](int64_t num_voxels) { return coarse.allocate(num_voxels); });
    return coarse.results();
  });
}

CASE(kernel_map_of_sorted_voxels) {
  const std::vector<int32_t> indices = sorted_voxels();
  check_same_bits([&] { return results(kernel_map_of(indices)); });
}

CASE(kernel_map_of_voxels_in_any_order) {
  std::vector<int32_t> indices = sorted_voxels();
  for (size_t i = 0; i + 8 <= indices.size(); i += 8) {
    std::swap_ranges(&indices[i], &indices[i + 4], &indices[i + 4]);
  }
  check_same_bits([&] { return results(kernel_map_of(indices)); });
}

const KernelGeometry kStrided{{3, 3, 3}, {2, 2, 2}, {1, 1, 1}, {1, 1, 1}};

CASE(output_voxels_and_their_map) {
  const std::vector<int32_t> indices = sorted_voxels();
  const VoxelGrid grid = grid_of({kShape[0], kShape[1], kShape[2]}), coarse = grid_of({30, 25, 20});
  const VoxelSet inputs{indices.data(), static_cast<int64_t>(indices.size()) / 4, grid};
  check_same_bits([&] {
    const cpu::VoxelIndex index(inputs, cpu::CellKeys(grid));
    std::vector<int32_t> found, pairs;
    cpu::output_voxels(inputs, index, kStrided, false, coarse, [&](int64_t num_outputs) {
      found.resize(num_outputs * 4);
      pairs.resize(27 * num_outputs);
      return cpu::OutputVoxels{found.data(), pairs.data()};
    });
    const VoxelSet outputs{found.data(), static_cast<int64_t>(found.size()) / 4, coarse};
    std::vector<int32_t> in_rows(27 * outputs.num_voxels), out_rows(27 * inputs.num_voxels);
    cpu::connect_voxels(inputs, index, outputs, {outputs, cpu::CellKeys(coarse)}, kStrided,
                        in_rows.data());
    CHECK(cpu::swap_kernel_map(in_rows.data(), 27, outputs.num_voxels, inputs.num_voxels,
                               out_rows.data()));
    CHECK(pairs == in_rows);
    return results(found, in_rows, out_rows);
  });
}

CASE(order_rows) {
  const std::vector<int32_t> neighbors = kernel_map_of(sorted_voxels());
  const auto num_rows = static_cast<int64_t>(neighbors.size()) / kKernel.num_offsets();
  check_same_bits([&] {
    std::vector<int32_t> order(num_rows), ordered_rows(neighbors.size());
    cpu::order_rows({kKernel.num_offsets(), kKernel.size[2]}, neighbors.data(), num_rows,
                    order.data(), ordered_rows.data());
    return results(order, ordered_rows);
  });
}

CASE(project_points) {
  const Cloud cloud;
  std::vector<float> projection;
  for (int64_t b = 0; b < kBatchSize; ++b) {
    const auto shift = static_cast<float>(b);
    projection.insert(projection.end(), {40, -20, 0, shift, 30, 0, -20, 0, 1, 0, 0, 0});
  }
  check_same_bits([&] {
    std::vector<int32_t> pixel(2 * Cloud::kPoints);
    std::vector<char> valid(Cloud::kPoints);
    cpu::project_points(cloud.xyz.data(), Cloud::kPoints, 4, projection.data(),
                        cloud.batch_index.data(), 60, 80, pixel.data(),
                        reinterpret_cast<bool*>(valid.data()));
    return results(pixel, valid);
  });
}

namespace {

// Pixels of two images above maps of 9 x 15 cells, as planes or with the channels of a cell side by
// side.
void check_patch_to_point(bool is_planes) {
  constexpr int64_t kPoints = 3000, kChannels = 20, kHeight = 9, kWidth = 15;
  constexpr int64_t kCells = kHeight * kWidth;
  PatchMap map{.batch = kBatchSize, .channels = kChannels, .height = kHeight, .width = kWidth};
  map.batch_stride = kCells * kChannels;
  map.channel_stride = is_planes ? kCells : 1;
  map.col_stride = is_planes ? 1 : kChannels;
  map.row_stride = map.col_stride * kWidth;
  map.image_height = 40;
  map.image_width = 70;

  harness::Random random(1);
  const auto patches = random.uniform_vector<float>(kBatchSize * map.batch_stride);
  const auto grad_out = random.uniform_vector<float>(kPoints * kChannels);
  std::vector<int32_t> pixel;
  std::vector<int64_t> batch_index;
  for (int64_t p = 0; p < kPoints; ++p) {
    pixel.push_back(static_cast<int32_t>(random.integer(map.image_height)));
    pixel.push_back(static_cast<int32_t>(random.integer(map.image_width)));
    batch_index.push_back(random.integer(kBatchSize));
  }
  CHECK(cpu::first_outside(pixel.data(), batch_index.data(), kPoints, map) == -1);

  std::vector<int32_t> cells;
  const auto forward = [&] {
    std::vector<float> out(kPoints * kChannels);
    std::vector<int32_t> cell(kPoints);
    cpu::patch_to_point(patches.data(), map, pixel.data(), batch_index.data(), kPoints, out.data(),
                        cell.data());
    return std::pair(out, cell);
  };
  check_same_bits([&] {
    const auto [out, cell] = forward();
    return results(out, cell);
  });

  const SegmentCase by_cell(forward().second, kBatchSize * kCells);
  check_same_bits([&] {
    std::vector<float> grad(patches.size());
    cpu::patch_to_point_backward(grad_out.data(), pixel.data(), by_cell.order.data(),
                                 by_cell.offsets.data(), map, grad.data());
    return results(grad);
  });
}

}  // namespace

CASE(patch_to_point_planes) { check_patch_to_point(true); }
CASE(patch_to_point_channels_last) { check_patch_to_point(false); }

CASE(nearest_rows) {
  constexpr int64_t kQueries = 100;
  harness::Random random(1);
  const auto candidates = random.uniform_vector<float>(Cloud::kPoints * 3);
  const auto queries = random.uniform_vector<float>(kQueries * 3, -1.2f, 1.2f);
  check_same_bits([&] {
    std::vector<int64_t> nearest(kQueries);
    cpu::nearest_rows(queries.data(), kQueries, candidates.data(), Cloud::kPoints, nearest.data());
    return results(nearest);
  });
}

CASE(nms) {
  constexpr int64_t kBoxes = 500;
  harness::Random random(1);
  const auto scores = random.uniform_vector<float>(kBoxes);
  std::vector<float> boxes;
  for (int64_t i = 0; i < kBoxes; ++i) {
    const float x = random.uniform(0, 60), y = random.uniform(0, 60);
    boxes.insert(boxes.end(), {x, y, x + random.uniform(1, 30), y + random.uniform(1, 30)});
  }
  check_same_bits([&] {
    std::vector<int64_t> kept(kBoxes);
    kept.resize(cpu::nms(boxes.data(), scores.data(), kBoxes, 0.4, kept.data()));
    return results(kept);
  });
}
