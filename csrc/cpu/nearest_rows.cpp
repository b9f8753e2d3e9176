#include "nearest_rows.h"

#include <algorithm>
#include <vector>

#include "common/nearest.h"
#include "parallel.h"

namespace elite_ops::cpu {
namespace {

constexpr int64_t kBoxRows = 32, kGroupBoxes = 32;
constexpr int64_t kBoxGrain = 256, kQueryGrain = 16;  // tens of microseconds

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Where some candidates lie; nowhere at first.
struct Box {
  float low[3] = {kInfinitelyFar, kInfinitelyFar, kInfinitelyFar};
  float high[3] = {-kInfinitelyFar, -kInfinitelyFar, -kInfinitelyFar};

  void include(const float* other_low, const float* other_high) {  // a NaN changes nothing
    for (int axis = 0; axis < 3; ++axis) {
      low[axis] = std::min(low[axis], other_low[axis]);
      high[axis] = std::max(high[axis], other_high[axis]);
    }
  }

  // At most that of any candidate inside, also as they are rounded: no step reverses an order.
  float squared_distance(const float* query) const {
    float gap[3];
    for (int axis = 0; axis < 3; ++axis) {
      gap[axis] = std::max({low[axis] - query[axis], query[axis] - high[axis], 0.f});
    }
    return squared_length(gap[0], gap[1], gap[2]);
  }
};

// Boxes around each 32 consecutive candidates, and around each 32 such boxes: rows of a scan that
// follow each other lie near each other, so that few boxes are near a query.
class Boxes {
 public:
  Boxes(const float* candidates, int64_t num_candidates)
      : candidates_(candidates),
        num_candidates_(num_candidates),
        boxes_(divide_up(num_candidates, kBoxRows)),
        groups_(divide_up(num_boxes(), kGroupBoxes)) {
    parallel_for(0, num_boxes(), kBoxGrain, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin * kBoxRows; row < std::min(end * kBoxRows, num_candidates_); ++row) {
        const float* place = candidates_ + 3 * row;
        boxes_[row / kBoxRows].include(place, place);
      }
    });
    for (int64_t b = 0; b < num_boxes(); ++b) {
      groups_[b / kGroupBoxes].include(boxes_[b].low, boxes_[b].high);
    }
  }

  // Begins with the row `guess`: the nearer it is, the less is left to look at.
  int64_t nearest(const float* query, int64_t guess) const {
    uint64_t best = key(query, guess);
    for (int64_t g = 0; g < num_groups(); ++g) {
      const int64_t begin = g * kGroupBoxes, end = std::min(begin + kGroupBoxes, num_boxes());
      if (key_of(groups_[g].squared_distance(query), begin * kBoxRows) > best) continue;
      for (int64_t b = begin; b < end; ++b) best = nearest_in_box(query, b, best);
    }
    return row_of(best);
  }

 private:
  int64_t num_boxes() const { return static_cast<int64_t>(boxes_.size()); }
  int64_t num_groups() const { return static_cast<int64_t>(groups_.size()); }

  uint64_t key(const float* query, int64_t row) const {
    const float* place = candidates_ + 3 * row;
    return key_of(squared_length(query[0] - place[0], query[1] - place[1], query[2] - place[2]),
                  row);
  }

  // The smallest key in the box, or `best` where none is below.
  uint64_t nearest_in_box(const float* query, int64_t b, uint64_t best) const {
    const int64_t begin = b * kBoxRows, end = std::min(begin + kBoxRows, num_candidates_);
    if (key_of(boxes_[b].squared_distance(query), begin) > best) return best;
    for (int64_t row = begin; row < end; ++row) best = std::min(best, key(query, row));
    return best;
  }

  const float* candidates_;
  int64_t num_candidates_;
  std::vector<Box> boxes_, groups_;
};

}  // namespace

void nearest_rows(const float* queries, int64_t num_queries, const float* candidates,
                  int64_t num_candidates, int64_t* nearest) {
  if (num_queries == 0) return;
  const Boxes boxes(candidates, num_candidates);
  parallel_for(0, num_queries, kQueryGrain, [&](int64_t begin, int64_t end) {
    int64_t row = 0;
    for (int64_t i = begin; i < end; ++i) {
      const float* q = queries + 3 * i;
      const float query[3] = {finite_or_zero(q[0]), finite_or_zero(q[1]), finite_or_zero(q[2])};
      row = boxes.nearest(query, row);  // queries that follow each other lie near each other too
      nearest[i] = row;
    }
  });
}

}  // namespace elite_ops::cpu
