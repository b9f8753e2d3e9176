// The kernels against the CPU, bit for bit, and both against a plain loop.
#include "common/nearest.h"
#include "cpu/nearest_rows.h"
#include "cuda/nearest_rows.h"
#include "harness.h"

namespace {

using namespace elite_ops;
using harness::Random;

using Rows = std::vector<int64_t>;
using Points = std::vector<float>;  // [N, 3]

int64_t size_of(const Points& points) { return static_cast<int64_t>(points.size()) / 3; }

Rows on_cpu(const Points& queries, const Points& candidates) {
  Rows nearest(size_of(queries), -1);
  cpu::nearest_rows(queries.data(), size_of(queries), candidates.data(), size_of(candidates),
                    nearest.data());
  return nearest;
}

Rows on_cuda(const Points& queries, const Points& candidates) {
  Rows nearest(size_of(queries), -1);
  CHECK(cuda::nearest_rows(queries.data(), size_of(queries), candidates.data(), size_of(candidates),
                           nearest.data(), nullptr) == cudaSuccess);
  return nearest;
}

// Of finite points.
Rows plain(const Points& queries, const Points& candidates) {
  Rows nearest;
  for (int64_t i = 0; i < size_of(queries); ++i) {
    int64_t row = 0;
    float least = kInfinitelyFar;
    for (int64_t c = 0; c < size_of(candidates); ++c) {
      const float* a = &queries[3 * i];
      const float* b = &candidates[3 * c];
      const float x = a[0] - b[0], y = a[1] - b[1], z = a[2] - b[2];
      const float squared = (x * x + y * y) + z * z;
      if (squared < least) least = squared, row = c;
    }
    nearest.push_back(row);
  }
  return nearest;
}

void check(const Points& queries, const Points& candidates, const Rows& want) {
  CHECK_EQUAL(on_cpu(queries, candidates), want);
  CHECK_EQUAL(on_cuda(queries, candidates), want);
}

Points random_points(int64_t n, uint64_t seed) {
  return Random(seed).uniform_vector<float>(3 * n, -9, 9);
}

}  // namespace

// Below, at and above the sizes of boxes, blocks and tiles.
CASE(sizes) {
  for (const int64_t num_candidates : {1, 31, 33, 1024, 1025, 2500}) {
    for (const int64_t num_queries : {0, 1, 40, 257}) {
      const Points queries = random_points(num_queries, 1);
      const Points candidates = random_points(num_candidates, num_candidates);
      check(queries, candidates, plain(queries, candidates));
    }
  }
}

// More tiles than parts: blocks go from tile to tile.
CASE(many_candidates) {
  const Points queries = random_points(3, 1), candidates = random_points(140'000, 2);
  check(queries, candidates, plain(queries, candidates));
}

// Places on a coarse grid occur many times.
CASE(of_equally_near_candidates_the_first) {
  Points queries = random_points(100, 1), candidates = random_points(3000, 2);
  for (Points* points : {&queries, &candidates}) {
    for (float& v : *points) v = std::round(v / 6);
  }
  check(queries, candidates, plain(queries, candidates));
}

CASE(what_is_not_finite) {
  for (const float bad : {NAN, -NAN, INFINITY, -INFINITY}) {
    for (int axis = 0; axis < 3; ++axis) {
      Points queries = random_points(50, 1), candidates = random_points(2000, 2);
      Points strange = queries;
      for (int64_t i = 0; i < 50; i += 2) {
        queries[3 * i + axis] = 0;
        strange[3 * i + axis] = bad;
      }
      check(strange, candidates, plain(queries, candidates));

      for (int64_t c = 0; c < 2000; ++c) {
        if (c < 40 || c % 3 != 0) candidates[3 * c + axis] = bad;
      }
      check(queries, candidates, plain(queries, candidates));
      for (int64_t c = 0; c < 2000; ++c) candidates[3 * c + axis] = bad;
      check(queries, candidates, Rows(50, 0));
    }
  }
}
