// The CUDA kernel of most_likely against its CPU kernel.
#include <limits>

#include "cpu/most_likely.h"
#include "cuda/accumulate.cuh"
#include "cuda/most_likely.h"
#include "harness.h"
#include "large_array.h"

using namespace elite_ops;

namespace {

template <typename scalar_t>
std::vector<int64_t> on_cuda(const LogitRows<scalar_t>& in) {
  std::vector<int64_t> out(in.rows, -5);
  CHECK(cuda::most_likely(in, out.data(), nullptr) == cudaSuccess);
  return out;
}

template <typename scalar_t>
std::vector<int64_t> on_cpu(const LogitRows<scalar_t>& in) {
  std::vector<int64_t> out(in.rows, -5);
  cpu::most_likely(in, out.data());
  return out;
}

// Some equal, some not finite: eighths, NaN and infinities.
template <typename scalar_t>
std::vector<scalar_t> random_logits(int64_t size) {
  harness::Random random(size);
  std::vector<scalar_t> logits;
  for (int64_t i = 0; i < size; ++i) {
    float value = static_cast<float>(random.integer(24) - 12) / 8;
    const int64_t kind = random.integer(60);
    if (kind == 0) value = std::numeric_limits<float>::quiet_NaN();
    if (kind < 3) value = (kind == 1 ? 1 : -1) * std::numeric_limits<float>::infinity();
    logits.push_back(scalar_t(value));
  }
  return logits;
}

// Rows end where the memory does: what is read beyond is noticed.
template <typename scalar_t>
void check_rows(int64_t rows, int32_t columns, int64_t padding, int64_t first, int32_t ignored) {
  using accumulate = cuda::accumulate_t<scalar_t>;
  const int64_t stride = columns + padding;
  const auto logits = random_logits<scalar_t>(first + (rows - 1) * stride + columns);
  const std::vector<accumulate> wide(logits.begin(), logits.end());
  std::vector<char> is_valid;
  std::vector<int32_t> row_numbers;
  for (int64_t i = 0; i < rows; ++i) {
    is_valid.push_back(i % 3 != 1);
    row_numbers.push_back(i % 3 != 1 ? i * 1000 : -1 - i);
  }
  const auto* valid = reinterpret_cast<const bool*>(is_valid.data());
  const LogitRows<accumulate> on_host{
      wide.data() + first, rows, stride, columns, ignored, valid, nullptr};
  LogitRows<scalar_t> in{logits.data() + first, rows, stride, columns, ignored, valid, nullptr};
  CHECK_EQUAL(on_cuda(in), on_cpu(on_host));
  in.valid = nullptr;
  in.row_numbers = row_numbers.data();
  CHECK_EQUAL(on_cuda(in), on_cpu(on_host));
  in.row_numbers = nullptr;
  LogitRows<accumulate> all = on_host;
  all.valid = nullptr;
  CHECK_EQUAL(on_cuda(in), on_cpu(all));
}

template <typename scalar_t>
void check() {
  for (int64_t rows : {1, 33, 300}) {
    for (int32_t columns : {1, 2, 4, 19, 20, 24, 100}) {
      for (int64_t padding : {0, 1, 4}) {
        for (int64_t first : {0, 1, 4}) {
          check_rows<scalar_t>(rows, columns, padding, first, -1);
          if (columns > 1) check_rows<scalar_t>(rows, columns, padding, first, 0);
          if (columns > 1) check_rows<scalar_t>(rows, columns, padding, first, columns - 1);
        }
      }
    }
  }
}

}  // namespace

CASE(equals_the_cpu_kernel_float) { check<float>(); }
CASE(equals_the_cpu_kernel_double) { check<double>(); }
CASE(equals_the_cpu_kernel_half) { check<__half>(); }
CASE(equals_the_cpu_kernel_bfloat16) { check<__nv_bfloat16>(); }

CASE(the_first_of_equals_and_nan) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> logits = {-0.f, 0, 0,         -kInfinity, -kInfinity, -kInfinity,
                                     1,    2, kNan,      kNan,       kInfinity,  kNan,
                                     3,    3, kInfinity, 1,          2,          2};
  const LogitRows<float> all{logits.data(), 6, 3, 3, -1};
  const LogitRows<float> others{logits.data(), 6, 3, 3, 0};
  const std::vector<int64_t> of_all = {0, 0, 2, 0, 2, 1}, of_others = {1, 1, 2, 2, 2, 1};
  CHECK_EQUAL(on_cuda(all), of_all);
  CHECK_EQUAL(on_cpu(all), of_all);
  CHECK_EQUAL(on_cuda(others), of_others);
  CHECK_EQUAL(on_cpu(others), of_others);
}

// The last row begins 2^31 elements and more after the first.
CASE(offsets_past_32_bits) {
  constexpr int64_t kRows = 3, kStride = int64_t{1} << 30;
  LargeArray<float> logits(kRows * kStride);
  for (int64_t i = 0; i < kRows; ++i) logits.data()[i * kStride + 2 + i] = 1;
  const LogitRows<float> in{logits.data(), kRows, kStride, 20, 0};
  const std::vector<int64_t> want = {2, 3, 4};
  CHECK_EQUAL(on_cuda(in), want);
  CHECK_EQUAL(on_cpu(in), want);
}
