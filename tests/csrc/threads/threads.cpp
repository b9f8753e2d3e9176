#include "threads.h"

#include <latch>
#include <thread>

#include "cpu/parallel.h"

namespace threads {
namespace {

// Ways in which a loop may be handed out, all of which parallel.h permits.
struct Schedule {
  const char* name;
  int num_threads;
  enum { kEqual, kSmallest, kWhole } ranges;
};

constexpr Schedule kOneThread{"one thread", 1, Schedule::kWhole};
constexpr Schedule kTwoThreads{"two threads", 2, Schedule::kEqual};
constexpr Schedule kOthers[] = {
    kTwoThreads,
    {"five threads", 5, Schedule::kEqual},
    {"five threads, ranges of the grain's size from the last to the first", 5, Schedule::kSmallest},
    {"five threads, of which one does it all", 5, Schedule::kWhole},
};

// Changed only while one thread runs.
Schedule schedule = kOneThread;

struct Range {
  int64_t begin, end;
};

std::vector<Range> ranges_of(int64_t begin, int64_t end, int64_t grain_size) {
  const int64_t size = end - begin;
  const int64_t grain = std::max<int64_t>(1, grain_size);
  int64_t count = 1;
  if (schedule.ranges == Schedule::kEqual) {  // as at::parallel_for divides them
    count = std::min<int64_t>(schedule.num_threads, (size + grain - 1) / grain);
  } else if (schedule.ranges == Schedule::kSmallest) {
    count = std::max<int64_t>(1, size / grain);
  }
  const int64_t step = (size + count - 1) / count;
  std::vector<Range> ranges;
  for (int64_t i = begin; i < end; i += step) ranges.push_back({i, std::min(i + step, end)});
  if (schedule.ranges == Schedule::kSmallest) std::reverse(ranges.begin(), ranges.end());
  return ranges;
}

void check_equal(const Results& got, const Results& want, const char* how) {
  CHECK(got.size() == want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    if (got[i] == want[i]) continue;
    std::fprintf(stderr, "result %zu has other bits: %s\n", i, how);
    std::exit(1);
  }
}

}  // namespace

void check_same_bits(const std::function<Results()>& run) {
  // First, so that what is made at the first use is made by two at a time.
  schedule = kTwoThreads;
  Results by_callers[2];
  {
    std::latch start(2);
    const auto call = [&](int caller) {
      start.arrive_and_wait();
      by_callers[caller] = run();
    };
    const std::jthread other(call, 1);
    call(0);
  }
  schedule = kOneThread;
  const Results want = run();
  CHECK(!want.empty());
  for (const Results& got : by_callers) check_equal(got, want, "called by two threads at a time");
  for (const Schedule& other : kOthers) {
    schedule = other;
    check_equal(run(), want, other.name);
  }
}

}  // namespace threads

namespace elite_ops::cpu {

int num_threads() { return threads::schedule.num_threads; }

void parallel_for(int64_t begin, int64_t end, int64_t grain_size,
                  const std::function<void(int64_t, int64_t)>& body) {
  if (begin >= end) return;
  const std::vector<threads::Range> ranges = threads::ranges_of(begin, end, grain_size);
  const size_t count = std::min<size_t>(num_threads(), ranges.size());
  if (count == 1 && end - begin > 1 && threads::schedule.ranges == threads::Schedule::kEqual) {
    std::fprintf(stderr, "a loop over %lld items stayed whole: its grain is %lld\n",
                 static_cast<long long>(end - begin), static_cast<long long>(grain_size));
    std::exit(1);
  }
  // All begin together. No counter hands out ranges: it would order what threads do, and hide races
  // from ThreadSanitizer.
  std::latch start(static_cast<std::ptrdiff_t>(count));
  const auto work = [&](size_t thread) {
    start.arrive_and_wait();
    for (size_t r = thread; r < ranges.size(); r += count) body(ranges[r].begin, ranges[r].end);
  };
  std::vector<std::jthread> others;
  for (size_t thread = 1; thread < count; ++thread) others.emplace_back(work, thread);
  work(0);
}

}  // namespace elite_ops::cpu

// Runs the cases that are named, or all.
int main(int count, char** names) {
  int done = 0;
  for (const harness::Case& c : harness::cases()) {
    const auto is_named = [&](const char* name) { return std::string_view(name) == c.name; };
    if (count > 1 && std::none_of(names + 1, names + count, is_named)) continue;
    harness::run(c);
    ++done;
  }
  return done > 0 ? 0 : 2;
}
