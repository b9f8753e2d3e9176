#include "voxel_slots.h"

#include <algorithm>

#include "parallel.h"

namespace elite_ops::cpu {
namespace {

constexpr int64_t kGrain = 8192;        // points; less is not worth a thread
constexpr int64_t kGrainWords = 65536;  // of memory to clear

}  // namespace

template <typename word_t>
void fill_slots(const word_t* features, const PointSlots& slots, word_t* out) {
  parallel_for(0, slots.num_elements(), kGrainWords,
               [&](int64_t begin, int64_t end) { std::fill(out + begin, out + end, word_t{0}); });
  const int64_t channels = slots.channels;
  parallel_for(0, slots.num_points, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t slot = slots.of(i);
      if (slot >= 0) std::copy_n(features + i * channels, channels, out + slot * channels);
    }
  });
}

template <typename word_t>
void take_slots(const word_t* voxels, const PointSlots& slots, word_t* out) {
  const int64_t channels = slots.channels;
  parallel_for(0, slots.num_points, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t slot = slots.of(i);
      if (slot >= 0) {
        std::copy_n(voxels + slot * channels, channels, out + i * channels);
      } else {
        std::fill_n(out + i * channels, channels, word_t{0});
      }
    }
  });
}

#define INSTANTIATE(word_t)                                            \
  template void fill_slots(const word_t*, const PointSlots&, word_t*); \
  template void take_slots(const word_t*, const PointSlots&, word_t*)
INSTANTIATE(uint16_t);
INSTANTIATE(uint32_t);
INSTANTIATE(uint64_t);
#undef INSTANTIATE

}  // namespace elite_ops::cpu
