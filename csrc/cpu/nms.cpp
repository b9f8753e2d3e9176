#include "cpu/nms.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "common/box.h"
#include "common/round_down.h"

namespace elite_ops::cpu {
namespace {

// The boxes in the order of their scores, one array a coordinate, so that the loop over pairs is
// vectorized.
template <typename scalar_t>
struct SortedBoxes {
  std::vector<scalar_t> x1, y1, x2, y2, area;

  SortedBoxes(const scalar_t* boxes, const std::vector<int64_t>& order) {
    for (std::vector<scalar_t>* array : {&x1, &y1, &x2, &y2, &area}) array->reserve(order.size());
    for (int64_t row : order) {
      const scalar_t* corners = boxes + row * 4;
      const Box<scalar_t> box{corners[0], corners[1], corners[2], corners[3]};
      x1.push_back(box.x1);
      y1.push_back(box.y1);
      x2.push_back(box.x2);
      y2.push_back(box.y2);
      area.push_back(box.area());
    }
  }

  Box<scalar_t> operator[](size_t i) const { return {x1[i], y1[i], x2[i], y2[i]}; }

  // Sets suppressed[j] for every later box j that overlaps box i by more than `threshold`.
  void suppress(size_t i, scalar_t threshold, char* suppressed) const {
    const Box<scalar_t> box = (*this)[i];
    const scalar_t box_area = area[i];
    for (size_t j = i + 1; j < area.size(); ++j) {
      suppressed[j] |= iou(box, box_area, (*this)[j], area[j]) > threshold;
    }
  }
};

}  // namespace

template <typename scalar_t>
int64_t nms(const scalar_t* boxes, const scalar_t* scores, int64_t num_boxes, double iou_threshold,
            int64_t* kept) {
  std::vector<int64_t> order(num_boxes);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [scores](int64_t a, int64_t b) { return scores[a] > scores[b]; });
  const SortedBoxes<scalar_t> sorted(boxes, order);
  const auto threshold = round_down<scalar_t>(iou_threshold);
  std::vector<char> suppressed(num_boxes);
  int64_t num_kept = 0;
  for (int64_t i = 0; i < num_boxes; ++i) {
    if (suppressed[i]) continue;
    kept[num_kept++] = order[i];
    sorted.suppress(i, threshold, suppressed.data());
  }
  return num_kept;
}

template int64_t nms(const float*, const float*, int64_t, double, int64_t*);
template int64_t nms(const double*, const double*, int64_t, double, int64_t*);

}  // namespace elite_ops::cpu
