// Pooling over a kernel map: the CPU's loops in every width of registers against plain ones, and
// the CUDA kernels against the CPU's.
#include "common/error_flag.h"
#include "cpu/sparse_pool.h"
#include "cuda/accumulate.cuh"
#include "cuda/sparse_pool.h"
#include "harness.h"
#include "table_cases.h"

using namespace elite_ops;
using cuda::accumulate_t;

namespace {

const std::vector<int64_t> kChannels = {0, 1, 3, 8, 20, 64, 135};

// What the CPU kernels compute on, and what is compared: rounded to T, then wide again.
template <typename T>
std::vector<accumulate_t<T>> widened(const std::vector<T>& values) {
  return {values.begin(), values.end()};
}
template <typename T>
std::vector<accumulate_t<T>> rounded(const std::vector<accumulate_t<T>>& values) {
  return widened(std::vector<T>(values.begin(), values.end()));
}

// All results of one case.
template <typename T>
struct Pooled {
  std::vector<T> largest, grad_of_largest, taken, mean, grad_of_mean;
  std::vector<int32_t> argmax, counts;

  Pooled(const TableCase& table, int64_t channels)
      : largest(table.num_out * channels),
        grad_of_largest(table.num_in * channels),
        taken(largest.size()),
        mean(largest.size()),
        grad_of_mean(grad_of_largest.size()),
        argmax(largest.size()),
        counts(table.num_out) {}
};

template <typename T>
Pooled<T> on_cpu(const TableCase& table, int64_t channels, const std::vector<T>& features,
                 const std::vector<T>& grad_out,
                 cpu::VectorBytes width = cpu::vector_widths().front()) {
  Pooled<T> out(table, channels);
  CHECK(cpu::sparse_max_pool(table.forward(), channels, features.data(), out.largest.data(),
                             out.argmax.data(), width));
  CHECK(cpu::sparse_max_pool_backward(table.backward(), channels, grad_out.data(),
                                      out.argmax.data(), out.grad_of_largest.data(), width));
  CHECK(cpu::sparse_max_pool_take(table.num_in, table.num_out, channels, features.data(),
                                  out.argmax.data(), out.taken.data()));
  CHECK(cpu::sparse_avg_pool(table.forward(), channels, features.data(), out.mean.data(),
                             out.counts.data(), width));
  CHECK(cpu::sparse_avg_pool_backward(table.backward(), channels, grad_out.data(),
                                      out.counts.data(), out.grad_of_mean.data(), width));
  return out;
}

template <typename T>
Pooled<T> on_cuda(const TableCase& table, int64_t channels, const T* features,
                  const std::vector<T>& grad_out) {
  Pooled<T> out(table, channels);
  int32_t error_flag = 0;
  CHECK(cuda::sparse_max_pool(table.forward(), channels, features, out.largest.data(),
                              out.argmax.data(), &error_flag, nullptr) == cudaSuccess);
  CHECK(cuda::sparse_max_pool_backward(table.backward(), channels, grad_out.data(),
                                       out.argmax.data(), out.grad_of_largest.data(), &error_flag,
                                       nullptr) == cudaSuccess);
  CHECK(cuda::sparse_max_pool_take(table.num_in, table.num_out, channels, features,
                                   out.argmax.data(), out.taken.data(), &error_flag,
                                   nullptr) == cudaSuccess);
  CHECK(cuda::sparse_avg_pool(table.forward(), channels, features, out.mean.data(),
                              out.counts.data(), &error_flag, nullptr) == cudaSuccess);
  CHECK(cuda::sparse_avg_pool_backward(table.backward(), channels, grad_out.data(),
                                       out.counts.data(), out.grad_of_mean.data(), &error_flag,
                                       nullptr) == cudaSuccess);
  CHECK(error_flag == 0);
  return out;
}

// By its definition, pair by pair.
template <typename T>
Pooled<T> plain(const TableCase& table, int64_t channels, const std::vector<T>& features,
                const std::vector<T>& grad_out) {
  Pooled<T> out(table, channels);
  std::fill(out.argmax.begin(), out.argmax.end(), -1);
  for (int64_t c = 0; c < channels; ++c) {
    std::fill(out.counts.begin(), out.counts.end(), 0);
    table.for_each_pair([&](int64_t i, int64_t, int64_t j) {
      const T value = features[j * channels + c];
      const int64_t cell = i * channels + c;
      ++out.counts[i];
      out.mean[cell] += value;
      if (out.argmax[cell] >= 0 && value <= out.largest[cell]) return;
      out.argmax[cell] = static_cast<int32_t>(j);
      out.largest[cell] = out.taken[cell] = value;
    });
    for (int64_t i = 0; i < table.num_out; ++i) {
      const int64_t cell = i * channels + c;
      out.mean[cell] /= static_cast<T>(std::max(out.counts[i], 1));
      if (out.argmax[cell] >= 0) {
        out.grad_of_largest[out.argmax[cell] * channels + c] += grad_out[cell];
      }
    }
    table.for_each_pair([&](int64_t i, int64_t, int64_t j) {
      const T part = T(1) / static_cast<T>(out.counts[i]);
      out.grad_of_mean[j * channels + c] += grad_out[i * channels + c] * part;
    });
  }
  return out;
}

template <typename T>
void check_cpu() {
  const double tolerance = sizeof(T) == 8 ? 1e-14 : 1e-5;
  for (const TableCase& table : table_cases()) {
    for (const int64_t channels : kChannels) {
      harness::Random random(3);
      const auto features = random.uniform_vector<T>(table.num_in * channels);
      const auto grad_out = random.uniform_vector<T>(table.num_out * channels);
      const Pooled<T> want = plain(table, channels, features, grad_out);
      const Pooled<T> widest = on_cpu(table, channels, features, grad_out);
      for (const cpu::VectorBytes width : cpu::vector_widths()) {
        const Pooled<T> got = on_cpu(table, channels, features, grad_out, width);
        CHECK_EQUAL(got.largest, want.largest);
        CHECK_EQUAL(got.argmax, want.argmax);
        CHECK_EQUAL(got.taken, want.taken);
        CHECK_EQUAL(got.mean, want.mean);
        if (channels > 0) CHECK_EQUAL(got.counts, want.counts);
        // Their sums have another order than those above.
        CHECK_CLOSE(got.grad_of_largest, want.grad_of_largest, tolerance);
        CHECK_CLOSE(got.grad_of_mean, want.grad_of_mean, tolerance);
        CHECK_EQUAL(got.grad_of_largest, widest.grad_of_largest);
        CHECK_EQUAL(got.grad_of_mean, widest.grad_of_mean);
      }
    }
  }
}

// The emulation contracts nothing: sums in the same order have the same bits. `shift`: by how many
// elements the features miss the alignment of wide loads.
template <typename T>
void check_cuda(int64_t shift = 0) {
  for (const TableCase& table : table_cases()) {
    for (const int64_t channels : kChannels) {
      harness::Random random(4);
      const auto features = random.uniform_vector<T>(shift + table.num_in * channels);
      const auto grad_out = random.uniform_vector<T>(table.num_out * channels);
      const std::vector<T> shifted(features.begin() + shift, features.end());
      const Pooled<T> got = on_cuda(table, channels, features.data() + shift, grad_out);
      const auto want = on_cpu(table, channels, widened(shifted), widened(grad_out));
      CHECK_EQUAL(widened(got.largest), want.largest);
      CHECK_EQUAL(got.argmax, want.argmax);
      CHECK_EQUAL(widened(got.taken), want.taken);
      CHECK_EQUAL(widened(got.grad_of_largest), rounded<T>(want.grad_of_largest));
      CHECK_EQUAL(widened(got.mean), rounded<T>(want.mean));
      CHECK_EQUAL(widened(got.grad_of_mean), rounded<T>(want.grad_of_mean));
      if (channels > 0) CHECK_EQUAL(got.counts, want.counts);
    }
  }
}

}  // namespace

CASE(every_width_of_registers_gives_the_bits_of_plain_loops) {
  check_cpu<float>();
  check_cpu<double>();
}

CASE(cuda_float) { check_cuda<float>(); }
CASE(cuda_double) { check_cuda<double>(); }
CASE(cuda_half) { check_cuda<__half>(); }
CASE(cuda_bfloat16) { check_cuda<__nv_bfloat16>(); }
CASE(rows_that_are_not_aligned) {
  check_cuda<float>(1);
  check_cuda<__half>(1);
}

CASE(max_takes_nan_and_the_first_of_equals) {
  const float nan = std::nanf("");
  const std::vector<float> features = {1, 2, -5, 1, nan, -4, 0, nan, -4};
  TableCase table(3, 1, 3, 1);
  table.in_rows = {0, 1, 2};
  const auto check = [](const std::vector<float>& out, const std::vector<int32_t>& argmax) {
    CHECK(out[0] == 1 && std::isnan(out[1]) && out[2] == -4);
    CHECK_EQUAL(argmax, (std::vector<int32_t>{0, 1, 1}));
  };
  std::vector<float> out(3);
  std::vector<int32_t> argmax(3);
  int32_t error_flag = 0;
  CHECK(cuda::sparse_max_pool(table.forward(), 3, features.data(), out.data(), argmax.data(),
                              &error_flag, nullptr) == cudaSuccess);
  check(out, argmax);
  for (const cpu::VectorBytes width : cpu::vector_widths()) {
    CHECK(cpu::sparse_max_pool(table.forward(), 3, features.data(), out.data(), argmax.data(),
                               width));
    check(out, argmax);
  }
}

CASE(rows_outside_are_left_out_and_reported) {
  for (const int64_t channels : {3, 16}) {
    for (const int32_t outside : {-2, 2, INT32_MIN, INT32_MAX}) {
      const std::vector<int32_t> rows = {outside, 1, -1, 0};
      const KernelTable table{rows.data(), 2, 2, 2};
      const std::vector<float> ones(2 * channels, 1);
      std::vector<float> out(2 * channels);
      std::vector<int32_t> of_cells(2 * channels), counts(2);
      int32_t flags[5] = {};
      const auto check_sums = [&](float first, float second) {
        for (int64_t c = 0; c < channels; ++c) {
          CHECK(out[c] == first && out[channels + c] == second);
        }
      };
      cuda::sparse_max_pool(table, channels, ones.data(), out.data(), of_cells.data(), &flags[0],
                            nullptr);
      check_sums(0, 1);
      CHECK(of_cells[0] == -1 && of_cells[channels] == 1);
      // Seen as a table of the gradient: row 1 is met by output rows 1 and 0, and won in row 1.
      cuda::sparse_max_pool_backward(table, channels, ones.data(), of_cells.data(), out.data(),
                                     &flags[1], nullptr);
      check_sums(0, 1);
      cuda::sparse_avg_pool(table, channels, ones.data(), out.data(), counts.data(), &flags[2],
                            nullptr);
      check_sums(0, 1);
      CHECK_EQUAL(counts, (std::vector<int32_t>{0, 2}));
      cuda::sparse_avg_pool_backward(table, channels, ones.data(), counts.data(), out.data(),
                                     &flags[3], nullptr);
      check_sums(0, 1.5);
      of_cells[0] = outside;
      cuda::sparse_max_pool_take(2, 2, channels, ones.data(), of_cells.data(), out.data(),
                                 &flags[4], nullptr);
      check_sums(0, 1);
      for (const int32_t flag : flags) CHECK(flag == kIndexOutOfRange);

      CHECK(!cpu::sparse_max_pool_take(2, 2, channels, ones.data(), of_cells.data(), out.data()));
      CHECK(!cpu::sparse_max_pool(table, channels, ones.data(), out.data(), of_cells.data()));
      CHECK(!cpu::sparse_max_pool_backward(table, channels, ones.data(), of_cells.data(),
                                           out.data()));
      CHECK(!cpu::sparse_avg_pool(table, channels, ones.data(), out.data(), counts.data()));
      CHECK(
          !cpu::sparse_avg_pool_backward(table, channels, ones.data(), counts.data(), out.data()));
      check_sums(0, 1.5);
    }
  }
}
