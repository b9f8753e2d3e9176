// The CUDA kernels of nms against its CPU kernel, to the bit.
#include <cuda_runtime.h>

#include "cpu/nms.h"
#include "cuda/accumulate.cuh"
#include "cuda/nms.h"
#include "harness.h"

namespace {

template <typename scalar_t>
std::vector<int64_t> on_cuda(const std::vector<scalar_t>& boxes,
                             const std::vector<scalar_t>& scores, double iou_threshold) {
  const auto num_boxes = static_cast<int64_t>(scores.size());
  std::vector<unsigned char> workspace(elite_ops::cuda::nms_workspace_bytes<scalar_t>(num_boxes));
  std::vector<int64_t> kept(scores.size());
  int64_t num_kept = 0;
  CHECK(elite_ops::cuda::nms(boxes.data(), scores.data(), num_boxes, iou_threshold,
                             workspace.data(), kept.data(), &num_kept, nullptr) == cudaSuccess);
  kept.resize(num_kept);
  return kept;
}

template <typename scalar_t>
std::vector<int64_t> on_cpu(const std::vector<scalar_t>& boxes, const std::vector<scalar_t>& scores,
                            double iou_threshold) {
  using wide = elite_ops::cuda::accumulate_t<scalar_t>;
  std::vector<wide> wide_boxes, wide_scores;
  for (scalar_t v : boxes) wide_boxes.push_back(static_cast<wide>(v));
  for (scalar_t v : scores) wide_scores.push_back(static_cast<wide>(v));
  std::vector<int64_t> kept(scores.size());
  kept.resize(elite_ops::cpu::nms(wide_boxes.data(), wide_scores.data(),
                                  static_cast<int64_t>(scores.size()), iou_threshold, kept.data()));
  return kept;
}

// Every other box lies near the one before it, and every seventh has no area.
template <typename scalar_t>
std::vector<scalar_t> random_boxes(int64_t num_boxes) {
  harness::Random random(static_cast<uint64_t>(num_boxes));
  std::vector<scalar_t> boxes;
  float x = 0, y = 0, width = 0, height = 0;
  for (int64_t i = 0; i < num_boxes; ++i) {
    if (i % 2 == 0) {
      x = random.uniform(0, 60), y = random.uniform(0, 60);
      width = random.uniform(1, 30), height = random.uniform(1, 30);
    } else {
      x += 1;
    }
    for (float v : {x, y, x + (i % 7 ? width : 0), y + height}) boxes.push_back(scalar_t(v));
  }
  return boxes;
}

template <typename scalar_t>
void check_sizes() {
  for (int64_t num_boxes : {0, 1, 31, 63, 64, 65, 300}) {
    const auto boxes = random_boxes<scalar_t>(num_boxes);
    harness::Random random(7);
    const auto scores = random.uniform_vector<scalar_t>(num_boxes);
    for (double iou_threshold : {0., 0.4, 0.7, 1.}) {
      CHECK_EQUAL(on_cuda(boxes, scores, iou_threshold), on_cpu(boxes, scores, iou_threshold));
    }
  }
}

}  // namespace

CASE(sizes_float) { check_sizes<float>(); }
CASE(sizes_double) { check_sizes<double>(); }
CASE(sizes_half) { check_sizes<__half>(); }
CASE(sizes_bfloat16) { check_sizes<__nv_bfloat16>(); }

// A chain across many groups of 64: every decision depends on the one before it.
CASE(each_box_overlaps_its_neighbours_only) {
  std::vector<float> boxes, scores;
  std::vector<int64_t> even;
  for (int i = 0; i < 1000; ++i) {
    const auto x = static_cast<float>(i);
    for (float v : {x, 0.f, x + 2, 1.f}) boxes.push_back(v);
    scores.push_back(-x);
    if (i % 2 == 0) even.push_back(i);
  }
  CHECK_EQUAL(on_cuda(boxes, scores, 0.2), even);
}

CASE(equal_scores_and_signed_zeros_keep_the_lower_row) {
  const auto boxes = random_boxes<double>(200);
  std::vector<double> scores;
  for (int i = 0; i < 200; ++i) scores.push_back(i % 3 == 0 ? -0. : i % 3 == 1 ? 0. : -1.);
  CHECK_EQUAL(on_cuda(boxes, scores, 0.5), on_cpu(boxes, scores, 0.5));
}

CASE(scores_of_every_kind) {
  const float infinity = INFINITY;
  const std::vector<float> scores{-1.f, infinity, -infinity, 0.f, 3.f, -2.f, 1e-40f, -1e-40f};
  CHECK_EQUAL(on_cuda(random_boxes<float>(8), scores, 1.),
              on_cpu(random_boxes<float>(8), scores, 1.));
}

CASE(a_nan_score_is_last) {
  const std::vector<float> boxes(12, 0.f);
  for (float nan : {NAN, -NAN}) {
    CHECK_EQUAL(on_cuda(boxes, {nan, -INFINITY, 1.f}, 0.5), (std::vector<int64_t>{2, 1, 0}));
  }
}

CASE(a_box_with_a_nan_is_kept_and_suppresses_nothing) {
  for (int corner = 0; corner < 4; ++corner) {
    std::vector<float> boxes{0, 0, 9, 9, 0, 0, 9, 9, 0, 0, 9, 9};
    boxes[4 + corner] = NAN;
    CHECK_EQUAL(on_cuda(boxes, {3.f, 2.f, 1.f}, 0.5), (std::vector<int64_t>{0, 1}));
    CHECK_EQUAL(on_cuda(boxes, {1.f, 2.f, 3.f}, 0.5), (std::vector<int64_t>{2, 1}));
    CHECK_EQUAL(on_cuda(boxes, {2.f, 3.f, 1.f}, 0.5), (std::vector<int64_t>{1, 0}));
  }
}
