#include "voxel_slots.h"

#include <algorithm>
#include <cstring>

#include "parallel.h"

namespace elite_ops::cpu {
namespace {

constexpr int64_t kGrain = 8192;  // points or voxels; less is not worth a thread

// Clears the slots of a voxel that have no point.
template <typename word_t>
void clear_rest(const PointSlots& slots, int64_t row, word_t* out) {
  const int64_t filled = std::clamp<int64_t>(slots.counts[row], 0, slots.max_points);
  word_t* voxel = out + row * slots.max_points * slots.channels;
  std::fill(voxel + filled * slots.channels, voxel + slots.max_points * slots.channels, word_t{0});
}

// Copies a row of a point: of 16 bytes, x y z and remission, as one.
template <typename word_t>
void copy_row(const word_t* from, int64_t channels, word_t* to) {
  constexpr int64_t kUsual = 16 / sizeof(word_t);
  if (channels == kUsual) {
    std::memcpy(to, from, 16);
  } else {
    std::copy_n(from, channels, to);
  }
}

}  // namespace

template <typename word_t>
void fill_slots(const word_t* features, const PointSlots& slots, word_t* out) {
  const int64_t channels = slots.channels;
  parallel_for(0, slots.num_voxels, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      if (slots.counts[row] <= 0) clear_rest(slots, row, out);
    }
  });
  // Voxels are numbered as points enter them, so that these loops walk through memory in order.
  parallel_for(0, slots.num_points, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t slot = slots.of(i);
      if (slot < 0) continue;
      if (slots.slots[i] == 0) clear_rest(slots, slots.rows[i], out);
      copy_row(features + i * channels, channels, out + slot * channels);
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
        copy_row(voxels + slot * channels, channels, out + i * channels);
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
