#include "devoxelize.h"

#include <algorithm>

#include "parallel.h"

namespace elite_ops::cpu {
namespace {

constexpr int64_t kGrain = 1024;  // points

// Look-ups of ascending cells, of which two along z are neighbours.
class Walk {
 public:
  Walk(const VoxelIndex& index, const CellKeys& key) : index_(index), key_(key) {}

  int32_t find(int64_t batch, int64_t x, int64_t y, int64_t z) {
    const int64_t wanted = key_(batch, x, y, z);
    const std::vector<int64_t>& keys = index_.keys;
    if (wanted != last_ + 1) {
      place_ = std::lower_bound(keys.begin() + place_, keys.end(), wanted) - keys.begin();
    } else if (keys[place_] < wanted) {
      ++place_;
    }
    last_ = wanted;
    return keys[place_] == wanted ? static_cast<int32_t>(index_.row(place_)) : -1;
  }

 private:
  const VoxelIndex& index_;
  const CellKeys& key_;
  int64_t place_ = 0, last_ = -2;
};

}  // namespace

void devoxelize(const Devoxelization& call, const VoxelIndex& index, int32_t* rows,
                float* weights) {
  const CellKeys key(call.grid);
  const int64_t corners = call.corners();
  parallel_for(0, call.points.num_points, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Walk walk(index, key);
      call.find(i, walk, rows + i * corners, weights + i * corners);
    }
  });
}

}  // namespace elite_ops::cpu
