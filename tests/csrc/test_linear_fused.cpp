// A linear map of gathered rows, on the CPU and on CUDA, against a plain loop.
#include <cmath>

#include "common/error_flag.h"
#include "cpu/linear_fused.h"
#include "cuda/linear_fused.h"
#include "large_array.h"
#include "sparse_conv_cases.h"

using namespace elite_ops;
using namespace sparse_conv_cases;

namespace {

constexpr int64_t kNumIn = 11;
constexpr float kUntouched = -99.f;

// Everything that one call reads: features through rows, and a residual of each kind.
template <typename T>
struct LinearCase {
  int64_t num_out, c_in, c_out;
  DeviceArray<T> features, weight, bias, plain, coarse;
  std::vector<int32_t> rows, coarse_rows;

  LinearCase(int64_t num_out_, int64_t c_in_, int64_t c_out_)
      : LinearCase(num_out_, c_in_, c_out_, harness::Random(num_out_ + c_in_ + c_out_)) {}

  LinearCase(int64_t num_out_, int64_t c_in_, int64_t c_out_, harness::Random random)
      : num_out(num_out_),
        c_in(c_in_),
        c_out(c_out_),
        features(random.uniform_vector<T>(std::max(kNumIn, num_out) * c_in)),
        weight(random.uniform_vector<T>(c_in * c_out, -0.1f, 0.1f)),
        bias(random.uniform_vector<T>(c_out)),
        plain(random.uniform_vector<T>(num_out * c_out)),
        coarse(random.uniform_vector<T>(kNumIn * c_out)),
        rows(num_out),
        coarse_rows(num_out) {
    for (int32_t& row : rows) row = static_cast<int32_t>(random.integer(kNumIn + 1) - 1);
    for (int32_t& row : coarse_rows) row = static_cast<int32_t>(random.integer(kNumIn + 1) - 1);
  }

  // By a plain loop in double.
  std::vector<double> want(bool gathers) const {
    std::vector<double> out(num_out * c_out);
    for (int64_t i = 0; i < num_out; ++i) {
      const int64_t row = gathers ? rows[i] : i;
      for (int64_t column = 0; column < c_out; ++column) {
        double sum = double(bias.data[column]) + double(plain.data[i * c_out + column]);
        if (coarse_rows[i] >= 0) sum += double(coarse.data[coarse_rows[i] * c_out + column]);
        for (int64_t c = 0; row >= 0 && c < c_in; ++c) {
          sum += double(features.data[row * c_in + c]) * double(weight.data[c * c_out + column]);
        }
        out[i * c_out + column] = sum > 0 ? sum : 0.125 * sum;
      }
    }
    return out;
  }

  GatheredRows<T> input(bool gathers) const {
    return {features.data, gathers ? rows.data() : nullptr, std::max(kNumIn, num_out)};
  }
  GatheredRows<T> coarse_residual() const { return {coarse.data, coarse_rows.data(), kNumIn}; }

  std::vector<float> run_on_cuda(bool gathers, bool tf32, const int64_t* num_rows = nullptr) const {
    const DeviceArray<T> out(std::vector<T>(num_out * c_out, T(kUntouched)));
    int32_t error_flag = 0;
    const cuda::SparseConvEpilogue<T> epilogue{
        bias.data, {{plain.data, nullptr, num_out}, coarse_residual()}, 0.125};
    const cuda::LinearArguments<T> args{num_out,  c_in,     c_out,    input(gathers), weight.data,
                                        epilogue, num_rows, out.data, &error_flag};
    CHECK(cuda::linear_fused(args, tf32, nullptr) == cudaSuccess);
    CHECK(error_flag == 0);
    return {out.data, out.data + num_out * c_out};
  }
};

constexpr int64_t kSizes[] = {0, 1, 5, 6, 23, 24, 25, 200};

void check_cpu(int64_t num_out, int64_t c_in, int64_t c_out) {
  const LinearCase<double> linear(num_out, c_in, c_out);
  for (const bool gathers : {false, true}) {
    std::vector<double> out(num_out * c_out);
    CHECK(cpu::linear_fused<double>(
        {num_out, c_in, c_out}, linear.input(gathers), linear.weight.data, linear.bias.data,
        {{linear.plain.data, nullptr, num_out}, linear.coarse_residual()}, 0.125, nullptr,
        out.data()));
    CHECK_CLOSE(out, linear.want(gathers), 1e-12);
  }
}

template <typename T>
void check_cuda(int64_t c_in, int64_t c_out, bool tf32 = false) {
  for (const int64_t num_out : kSizes) {
    const LinearCase<T> linear(num_out, c_in, c_out);
    for (const bool gathers : {false, true}) {
      CHECK_CLOSE(linear.run_on_cuda(gathers, tf32), linear.want(gathers), 2 * tolerance<T>(tf32));
    }
  }
}

// The rows past the count name rows that don't exist, and are not written.
template <typename T>
void check_padded(int64_t c_in, int64_t c_out, bool tf32 = false) {
  for (const int64_t count : {0, 1, 15, 16, 17, 64, 65, 100}) {
    LinearCase<T> linear(100, c_in, c_out);
    for (const bool gathers : {false, true}) {
      LinearCase<T> exact = linear;
      exact.num_out = count;
      std::vector<float> want = exact.run_on_cuda(gathers, tf32);
      want.resize(100 * c_out, kUntouched);
      LinearCase<T> padded = linear;
      std::fill(padded.rows.begin() + count, padded.rows.end(), 1 << 30);
      std::fill(padded.coarse_rows.begin() + count, padded.coarse_rows.end(), -5);
      CHECK_EQUAL(padded.run_on_cuda(gathers, tf32, &count), want);
    }
  }
}

}  // namespace

CASE(the_cpu_equals_a_plain_loop) {
  for (const int64_t num_out : kSizes) {
    check_cpu(num_out, 7, 20);
    check_cpu(num_out, 64, 33);
  }
}

CASE(cuda_equals_a_plain_loop) {
  check_cuda<__half>(64, 64);
  check_cuda<__half>(64, 128);
  check_cuda<__nv_bfloat16>(128, 24);
  check_cuda<__nv_bfloat16>(32, 16);
  check_cuda<float>(64, 20, true);
  check_cuda<float>(64, 32);
  check_cuda<__half>(10, 64);
  check_cuda<__half>(64, 20);
  check_cuda<double>(7, 20);
  check_cuda<float>(0, 3);
}

// A part of a row in registers is 32 to 256 bytes long, a row one or several of them; the last
// tile of columns may have room to spare.
CASE(tensor_cores_take_rows_of_any_number_of_parts) {
  check_cuda<__half>(16, 24);
  check_cuda<__half>(48, 72);
  check_cuda<__half>(96, 32);
  check_cuda<__half>(128, 24);
  check_cuda<__nv_bfloat16>(128, 136);
  check_cuda<__nv_bfloat16>(192, 8);
  check_cuda<float>(16, 12, true);
  check_cuda<float>(32, 64, true);
  check_cuda<float>(48, 100, true);
  check_cuda<float>(96, 32, true);
}

// Of 3 and 5 tiles of columns: a block holds 2 of them. Of the last, not even one.
CASE(tensor_cores_take_weights_that_no_block_can_hold) {
  check_cuda<__half>(256, 192);
  check_cuda<float>(128, 288, true);
  check_cuda<__half>(640, 64);
}

CASE(rows_past_the_count_are_neither_read_nor_written) {
  check_padded<__half>(64, 64);
  check_padded<float>(64, 20, true);
  check_padded<__nv_bfloat16>(128, 24);
  check_padded<__half>(96, 136);
  check_padded<float>(7, 5);
}

CASE(the_cpu_leaves_rows_past_the_count_too) {
  const LinearCase<double> linear(100, 7, 5);
  const auto run = [&](const int64_t* num_rows) {
    std::vector<double> out(100 * 5, kUntouched);
    CHECK(cpu::linear_fused<double>({100, 7, 5}, linear.input(true), linear.weight.data, nullptr,
                                    {linear.coarse_residual()}, 0.125, num_rows, out.data()));
    return out;
  };
  const std::vector<double> all = run(nullptr);
  for (const int64_t count : {0, 1, 15, 16, 17, 99, 100}) {
    std::vector<double> want = all;
    std::fill(want.begin() + count * 5, want.end(), kUntouched);
    CHECK_EQUAL(run(&count), want);
  }
}

// The first row of the result reads no features, the others the weights of one output channel,
// which are infinite.
CASE(infinite_weights_do_not_reach_rows_that_read_nothing) {
  for (const bool tf32 : {false, true}) {
    LinearCase<float> linear(6, 32, 24);
    for (int64_t c = 0; c < 32; ++c) linear.weight.data[c * 24 + 3] = INFINITY;
    for (int64_t i = 0; i < 6; ++i) linear.rows[i] = static_cast<int32_t>(i) - 1;
    const std::vector<float> got = linear.run_on_cuda(true, tf32);
    const std::vector<double> want = linear.want(true);
    for (int64_t i = 0; i < 6 * 24; ++i) {
      const bool is_finite = i % 24 != 3 || i < 24;
      CHECK(std::isfinite(got[i]) == is_finite);
      CHECK(!is_finite || std::abs(got[i] - want[i]) < 2 * tolerance<float>(true));
    }
  }
}

CASE(one_launch) {
  const LinearCase<__half> linear(100, 64, 24);
  const int64_t before = emulation::num_enqueued;
  linear.run_on_cuda(true, false);
  CHECK(emulation::num_enqueued - before == 1);
}

// What a launch computes for a row is the same in a matrix of any other number of rows.
CASE(a_row_does_not_depend_on_the_number_of_rows) {
  const LinearCase<__half> many(40000, 16, 16);
  LinearCase<__half> few = many;
  few.num_out = 70;
  std::vector<float> first = many.run_on_cuda(true, false);
  first.resize(70 * 16);
  CHECK_EQUAL(few.run_on_cuda(true, false), first);
}

CASE(rows_that_do_not_exist_are_reported_and_add_nothing) {
  const DeviceArray<float> features({1, 2}), weight({1}), residual({10});
  const std::vector<int32_t> rows{2, 1, -2}, residual_rows{0, 1, 0};
  const GatheredRows<float> input{features.data, rows.data(), 2};
  const GatheredRows<float> added{residual.data, residual_rows.data(), 1};
  const std::vector<float> want{10, 2, 10};
  std::vector<float> out(3);
  CHECK(!cpu::linear_fused<float>({3, 1, 1}, input, weight.data, nullptr, {added}, 1.f, nullptr,
                                  out.data()));
  CHECK_EQUAL(out, want);

  std::fill(out.begin(), out.end(), kUntouched);
  int32_t error_flag = 0;
  cuda::LinearArguments<float> args{3, 1, 1, input, weight.data};
  args.epilogue.residuals[0] = added;
  args.out = out.data();
  args.error_flag = &error_flag;
  CHECK(cuda::linear_fused(args, false, nullptr) == cudaSuccess);
  CHECK_EQUAL(out, want);
  CHECK(error_flag == kIndexOutOfRange);
}

CASE(wrong_rows_of_residuals_are_reported_by_tensor_cores_too) {
  const DeviceArray<__half> features(std::vector<__half>(32, __half(1.f)));
  const DeviceArray<__half> weight(std::vector<__half>(256, __half(1.f)));
  const DeviceArray<__half> residual(std::vector<__half>(16, __half(10.f)));
  const std::vector<int32_t> rows{0, -2}, residual_rows{1, 0};
  const DeviceArray<__half> out(std::vector<__half>(32, __half(0.f)));
  int32_t error_flag = 0;
  cuda::LinearArguments<__half> args{2, 16, 16, {features.data, rows.data(), 2}, weight.data};
  args.epilogue.residuals[0] = {residual.data, residual_rows.data(), 1};
  args.out = out.data;
  args.error_flag = &error_flag;
  CHECK(cuda::linear_fused(args, false, nullptr) == cudaSuccess);
  CHECK(error_flag == kIndexOutOfRange);
  CHECK(static_cast<float>(out.data[0]) == 16.f && static_cast<float>(out.data[16]) == 10.f);
}

// 2^32 elements of features and of a residual, of which the last rows alone exist.
CASE(element_offsets_need_more_than_32_bits) {
  constexpr int64_t kRows = int64_t{1} << 28;
  LargeArray<__half> features(kRows * 16), residual(kRows * 16);
  std::fill_n(features.data() + (kRows - 1) * 16, 16, __half(2.f));
  std::fill_n(residual.data() + (kRows - 1) * 16, 16, __half(3.f));
  const DeviceArray<__half> weight(std::vector<__half>(256, __half(1.f)));
  const auto last = static_cast<int32_t>(kRows - 1);
  for (const int64_t c_in : {16, 1}) {  // with and without tensor cores
    const DeviceArray<__half> out(std::vector<__half>(16, __half(0.f)));
    int32_t error_flag = 0;
    cuda::LinearArguments<__half> args{1, c_in, 16, {features.data(), &last, kRows}, weight.data};
    if (c_in == 1) args.features.data += (kRows - 1) * 15;  // the last row is the same one
    args.epilogue.residuals[0] = {residual.data(), &last, kRows};
    args.out = out.data;
    args.error_flag = &error_flag;
    CHECK(cuda::linear_fused(args, false, nullptr) == cudaSuccess);
    CHECK(static_cast<float>(out.data[15]) == 2.f * static_cast<float>(c_in) + 3.f);
    CHECK(error_flag == 0);
  }
}
