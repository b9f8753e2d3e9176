// Warp shuffles, votes, matches and reductions: each lane brings a value and waits; the last to
// arrive works out everybody's result.
#pragma once

#include <bit>
#include <cstring>
#include <type_traits>

#include "emulator/block.h"

namespace emulation {

// A lane's part of a collective: what it brings and, once all have come, what it gets.
template <typename Input, typename Output>
struct Exchange {
  Input input;
  Output output{};
};

// `combine(lane, lanes)` gives the result of `lane`, where lanes[l] is null outside the mask.
template <typename Output, typename Input, typename CombineLane>
Output warp_collective(unsigned mask, Input input, CombineLane, Place place) {
  using Mine = Exchange<Input, Output>;
  Mine mine{input};
  wait_for_warp(
      mask, &mine,
      [](void* const(&exchanges)[kLanes]) {
        Mine* lanes[kLanes];
        for (int l = 0; l < kLanes; ++l) lanes[l] = static_cast<Mine*>(exchanges[l]);
        for (int l = 0; l < kLanes; ++l) {
          if (lanes[l]) lanes[l]->output = CombineLane{}(l, lanes);
        }
      },
      place);
  return mine.output;
}

// The types that the device shuffles. The 16-bit floating-point headers add theirs.
template <typename T>
constexpr bool kShuffles = std::is_arithmetic_v<T> && sizeof(T) >= 4;

template <typename T>
struct ShuffleInput {
  T value;
  int source;  // the lane to read
};

template <typename T>
T shuffle(unsigned mask, T value, int source, Place place) {
  static_assert(kShuffles<T>, "the device has no shuffle of this type");
  return warp_collective<T>(
      mask, ShuffleInput<T>{value, source},
      [](int l, auto& lanes) {
        const int from = lanes[l]->input.source;
        if (!lanes[from]) fail("lane %d shuffles from lane %d, which is not in the mask", l, from);
        return lanes[from]->input.value;
      },
      place);
}

// Lanes of a segment of `width` lanes: the first one, and the one after the last.
inline int segment_begin(int width) {
  if (width <= 0 || width > kLanes || (width & (width - 1)) != 0) fail("shuffle width %d", width);
  return lane() & ~(width - 1);
}

}  // namespace emulation

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = emulation::kLanes,
              emulation::Place place = emulation::Place::current()) {
  const int begin = emulation::segment_begin(width);
  return emulation::shuffle(mask, value, begin + (source & (width - 1)), place);
}

template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = emulation::kLanes,
                 emulation::Place place = emulation::Place::current()) {
  const int source = emulation::lane() - static_cast<int>(delta);
  const bool outside = source < emulation::segment_begin(width);
  return emulation::shuffle(mask, value, outside ? emulation::lane() : source, place);
}

template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = emulation::kLanes,
                   emulation::Place place = emulation::Place::current()) {
  const int source = emulation::lane() + static_cast<int>(delta);
  const bool outside = source >= emulation::segment_begin(width) + width;
  return emulation::shuffle(mask, value, outside ? emulation::lane() : source, place);
}

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = emulation::kLanes,
                  emulation::Place place = emulation::Place::current()) {
  const int source = emulation::lane() ^ lane_mask;
  const bool outside = source >= emulation::segment_begin(width) + width;
  return emulation::shuffle(mask, value, outside ? emulation::lane() : source, place);
}

inline unsigned __ballot_sync(unsigned mask, int predicate,
                              emulation::Place place = emulation::Place::current()) {
  return emulation::warp_collective<unsigned>(
      mask, predicate != 0,
      [](int, auto& lanes) {
        unsigned votes = 0;
        for (int l = 0; l < emulation::kLanes; ++l) {
          if (lanes[l] && lanes[l]->input) votes |= 1u << l;
        }
        return votes;
      },
      place);
}

inline int __any_sync(unsigned mask, int predicate,
                      emulation::Place place = emulation::Place::current()) {
  return __ballot_sync(mask, predicate, place) != 0;
}

inline int __all_sync(unsigned mask, int predicate,
                      emulation::Place place = emulation::Place::current()) {
  return __ballot_sync(mask, predicate, place) == mask;
}

template <typename T>
unsigned __match_any_sync(unsigned mask, T value,
                          emulation::Place place = emulation::Place::current()) {
  return emulation::warp_collective<unsigned>(
      mask, value,
      [](int lane, auto& lanes) {
        unsigned equal = 0;
        for (int l = 0; l < emulation::kLanes; ++l) {
          if (lanes[l] && std::memcmp(&lanes[l]->input, &lanes[lane]->input, sizeof(T)) == 0) {
            equal |= 1u << l;
          }
        }
        return equal;
      },
      place);
}

template <typename T>
unsigned __match_all_sync(unsigned mask, T value, int* all_equal,
                          emulation::Place place = emulation::Place::current()) {
  *all_equal = __match_any_sync(mask, value, place) == mask;
  return *all_equal ? mask : 0;
}

// Only the calling lane: which others happen to run together is never promised, and a device may
// answer so too. Code that counts on more meets the check of its next collective.
inline unsigned __activemask() { return 1u << emulation::lane(); }

#define EMULATION_WARP_REDUCTION(name, type, fold)                         \
  inline type name(unsigned mask, type value,                              \
                   emulation::Place place = emulation::Place::current()) { \
    return emulation::warp_collective<type>(                               \
        mask, value,                                                       \
        [](int lane, auto& lanes) {                                        \
          type a = lanes[lane]->input;                                     \
          for (int l = 0; l < emulation::kLanes; ++l) {                    \
            if (!lanes[l] || l == lane) continue;                          \
            const type b = lanes[l]->input;                                \
            a = static_cast<type>(fold);                                   \
          }                                                                \
          return a;                                                        \
        },                                                                 \
        place);                                                            \
  }

EMULATION_WARP_REDUCTION(__reduce_add_sync, unsigned, a + b)
EMULATION_WARP_REDUCTION(__reduce_min_sync, unsigned, a < b ? a : b)
EMULATION_WARP_REDUCTION(__reduce_max_sync, unsigned, a > b ? a : b)
EMULATION_WARP_REDUCTION(__reduce_add_sync, int,
                         static_cast<unsigned>(a) + static_cast<unsigned>(b))
EMULATION_WARP_REDUCTION(__reduce_min_sync, int, a < b ? a : b)
EMULATION_WARP_REDUCTION(__reduce_max_sync, int, a > b ? a : b)
EMULATION_WARP_REDUCTION(__reduce_and_sync, unsigned, a& b)
EMULATION_WARP_REDUCTION(__reduce_or_sync, unsigned, a | b)
EMULATION_WARP_REDUCTION(__reduce_xor_sync, unsigned, a ^ b)

#undef EMULATION_WARP_REDUCTION
