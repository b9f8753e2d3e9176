// What every test program in C++ needs: named cases, checks that print what differed, seeded random
// data.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace harness {

struct Case {
  const char* name;
  void (*run)();
};

inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

inline void run(const Case& c) {
  std::printf("%s\n", c.name);
  std::fflush(stdout);
  c.run();
}

struct Registration {
  Registration(const char* name, void (*run)()) { cases().push_back({name, run}); }
};

[[noreturn]] inline void fail(const char* file, int line, const std::string& what) {
  std::fprintf(stderr, "%s:%d: %s\n", file, line, what.c_str());
  std::exit(1);
}

template <typename A, typename B>
void check_equal(const char* file, int line, const std::vector<A>& got,
                 const std::vector<B>& want) {
  if (got.size() != want.size()) {
    fail(file, line,
         "sizes differ: " + std::to_string(got.size()) + " and " + std::to_string(want.size()));
  }
  for (size_t i = 0; i < got.size(); ++i) {
    if (got[i] != want[i]) {
      fail(file, line,
           "element " + std::to_string(i) + " is " + std::to_string(got[i]) + ", expected " +
               std::to_string(want[i]));
    }
  }
}

// |got - want| <= tolerance * (1 + |want|) for every element.
template <typename A, typename B>
void check_close(const char* file, int line, const std::vector<A>& got, const std::vector<B>& want,
                 double tolerance) {
  if (got.size() != want.size()) {
    fail(file, line,
         "sizes differ: " + std::to_string(got.size()) + " and " + std::to_string(want.size()));
  }
  for (size_t i = 0; i < got.size(); ++i) {
    const double g = static_cast<double>(got[i]), w = static_cast<double>(want[i]);
    if (!(std::fabs(g - w) <= tolerance * (1 + std::fabs(w)))) {
      fail(file, line,
           "element " + std::to_string(i) + " is " + std::to_string(g) + ", expected " +
               std::to_string(w));
    }
  }
}

// Seeded by each case, so that a failure repeats.
struct Random {
  std::mt19937_64 engine;
  explicit Random(uint64_t seed) : engine(seed) {}
  int64_t integer(int64_t below) {
    return static_cast<int64_t>(engine() % static_cast<uint64_t>(below));
  }
  float uniform(float low, float high) {
    return std::uniform_real_distribution<float>(low, high)(engine);
  }
  template <typename T>
  std::vector<T> uniform_vector(int64_t n, float low = -1.f, float high = 1.f) {
    std::vector<T> values(static_cast<size_t>(n));
    for (T& v : values) v = T(uniform(low, high));
    return values;
  }
};

}  // namespace harness

#define CASE(name)                                                      \
  static void name();                                                   \
  static const harness::Registration registration_##name{#name, &name}; \
  static void name()
#define CHECK(condition)                                                        \
  do {                                                                          \
    if (!(condition)) harness::fail(__FILE__, __LINE__, "not so: " #condition); \
  } while (false)
#define CHECK_EQUAL(got, want) harness::check_equal(__FILE__, __LINE__, got, want)
#define CHECK_CLOSE(got, want, tolerance) \
  harness::check_close(__FILE__, __LINE__, got, want, tolerance)
