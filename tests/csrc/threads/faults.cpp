// Loops with one fault each, that test_threads_catch.py expects to be noticed, and the same loops
// without the fault, which must pass: `faults NAME` and `faults NAME_repaired`.
#include <atomic>
#include <memory>
#include <mutex>
#include <type_traits>
#include <utility>

#include "cpu/parallel.h"
#include "threads.h"

using elite_ops::cpu::parallel_for;
using threads::results;

namespace {

constexpr int64_t kSize = 10'000;
constexpr int64_t kGrain = 100;

std::vector<int32_t> numbers() {
  std::vector<int32_t> values;
  for (int32_t i = 0; i < kSize; ++i) values.push_back(i % 7);
  return values;
}

template <bool kFaulty>
threads::Results sum_without_lock(const std::vector<int32_t>& in) {
  std::vector<int64_t> sum(1);
  std::mutex mutex;
  parallel_for(0, kSize, kGrain, [&](int64_t begin, int64_t end) {
    int64_t of_range = 0;
    for (int64_t i = begin; i < end; ++i) of_range += in[i];
    const auto lock =
        kFaulty ? std::unique_lock<std::mutex>() : std::unique_lock<std::mutex>(mutex);
    sum[0] += of_range;
  });
  return results(sum);
}

// The result is right: both ranges write the same number.
template <bool kFaulty>
threads::Results one_row_too_many(const std::vector<int32_t>& in) {
  std::vector<int32_t> out(kSize);
  parallel_for(0, kSize, kGrain, [&](int64_t begin, int64_t end) {
    const int64_t last = kFaulty ? std::min(end + 1, kSize) : end;
    for (int64_t i = begin; i < last; ++i) out[i] = in[i] + 1;
  });
  return results(out);
}

template <bool kFaulty>
threads::Results reads_the_next_range(const std::vector<int32_t>& in) {
  std::vector<int32_t> doubled(kSize), out(kSize);
  const auto add = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = doubled[i] + doubled[(i + 1) % kSize];
  };
  parallel_for(0, kSize, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) doubled[i] = 2 * in[i];
    if (kFaulty) add(begin, end);
  });
  if (!kFaulty) parallel_for(0, kSize, kGrain, add);
  return results(out);
}

// As an error flag is, written where an input is out of range.
template <bool kFaulty>
threads::Results plain_flag(const std::vector<int32_t>& in) {
  std::conditional_t<kFaulty, char, std::atomic<char>> found{0};
  parallel_for(0, kSize, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (in[i] == 6) found = 1;
    }
  });
  return results(std::vector<char>{found});
}

// Two callers make it at a time.
template <bool kFaulty>
threads::Results table_made_at_first_use(const std::vector<int32_t>& in) {
  static std::unique_ptr<std::vector<int32_t>> unguarded;
  if (kFaulty && !unguarded) unguarded = std::make_unique<std::vector<int32_t>>(7, 3);
  static const std::vector<int32_t> guarded(7, 3);
  const std::vector<int32_t>& table = kFaulty ? *unguarded : guarded;
  std::vector<int32_t> out(kSize);
  parallel_for(0, kSize, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = table[in[i]];
  });
  return results(out);
}

template <bool kFaulty>
threads::Results scratch_of_all_callers(const std::vector<int32_t>& in) {
  static std::vector<int32_t> of_all(kSize);
  std::vector<int32_t> own(kSize);
  std::vector<int32_t>& scratch = kFaulty ? of_all : own;
  std::copy(in.begin(), in.end(), scratch.begin());
  std::sort(scratch.begin(), scratch.end());
  return results(std::vector<int32_t>{scratch[kSize / 2]});
}

// Where the sums begin anew depends on the ranges.
template <bool kFaulty>
threads::Results sum_by_range(const std::vector<int32_t>& in) {
  constexpr int64_t kChunks = 200, kChunk = kSize / kChunks;
  std::vector<float> parts(kChunks);
  parallel_for(0, kChunks, 1, [&](int64_t begin, int64_t end) {
    float sum = 0;
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      for (int64_t i = chunk * kChunk; i < (chunk + 1) * kChunk; ++i) {
        sum += 1.f / static_cast<float>(3 + in[i]);
      }
      if (!kFaulty || chunk + 1 == end) parts[chunk] = std::exchange(sum, 0.f);
    }
  });
  float sum = 0;
  for (const float part : parts) sum += part;
  return results(std::vector<float>{sum});
}

// A place for each thread, but there may be more ranges.
template <bool kFaulty>
threads::Results more_ranges_than_places(const std::vector<int32_t>& in) {
  std::vector<int64_t> places(kFaulty ? elite_ops::cpu::num_threads() : kSize / kGrain);
  const auto size = static_cast<int64_t>(places.size());
  std::atomic<int64_t> next{0};
  parallel_for(0, kSize, kGrain, [&](int64_t begin, int64_t end) {
    int64_t& place = places.data()[std::min<int64_t>(next++, size)];
    for (int64_t i = begin; i < end; ++i) place += in[i];
  });
  int64_t sum = 0;
  for (const int64_t part : places) sum += part;
  return results(std::vector<int64_t>{sum});
}

template <bool kFaulty>
threads::Results grain_larger_than_the_input(const std::vector<int32_t>& in) {
  std::vector<int32_t> out(kSize);
  parallel_for(0, kSize, kFaulty ? kSize : kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = in[i];
  });
  return results(out);
}

template <bool kFaulty>
threads::Results scratch_is_not_freed(const std::vector<int32_t>& in) {
  std::atomic<int64_t> sum{0};
  parallel_for(0, kSize, kGrain, [&](int64_t begin, int64_t end) {
    auto scratch = std::make_unique<std::vector<int32_t>>(in.begin() + begin, in.begin() + end);
    for (const int32_t value : *scratch) sum += value;
    if (kFaulty) scratch.release();
  });
  return results(std::vector<int64_t>{sum});
}

template <bool kFaulty>
threads::Results sum_of_32_bits(const std::vector<int32_t>& in) {
  using Sum = std::conditional_t<kFaulty, int32_t, int64_t>;
  std::vector<int64_t> out(kSize);
  parallel_for(0, kSize, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = Sum{in[i]} * Sum{1 << 29};
  });
  return results(out);
}

using Loop = threads::Results (*)(const std::vector<int32_t>&);

template <Loop loop>
void check() {
  const std::vector<int32_t> in = numbers();
  threads::check_same_bits([&] { return loop(in); });
}

#define FAULT(name)                                                     \
  const harness::Registration faulty_##name{#name, &check<name<true>>}; \
  const harness::Registration repaired_##name { #name "_repaired", &check<name<false>> }
FAULT(sum_without_lock);
FAULT(one_row_too_many);
FAULT(reads_the_next_range);
FAULT(plain_flag);
FAULT(table_made_at_first_use);
FAULT(scratch_of_all_callers);
FAULT(sum_by_range);
FAULT(grain_larger_than_the_input);
FAULT(more_ranges_than_places);
FAULT(scratch_is_not_freed);
FAULT(sum_of_32_bits);
#undef FAULT

}  // namespace
