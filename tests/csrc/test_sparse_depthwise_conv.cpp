// Depthwise convolution: the CPU's loops in every width of registers against plain ones, bit for
// bit, and the CUDA kernels against the CPU's.
#include "common/error_flag.h"
#include "cpu/sparse_depthwise_conv.h"
#include "cuda/accumulate.cuh"
#include "cuda/sparse_depthwise_conv.h"
#include "harness.h"
#include "large_array.h"
#include "table_cases.h"

using namespace elite_ops;
using cuda::accumulate_t;

namespace {

const std::vector<int64_t> kChannels = {0, 1, 3, 8, 20, 64, 135};

template <typename T>
std::vector<accumulate_t<T>> widened(const std::vector<T>& values) {
  return {values.begin(), values.end()};
}

template <typename T>
struct Input {
  std::vector<T> features, weight, bias, grad_out;

  Input(const TableCase& table, int64_t channels) {
    harness::Random random(channels + 1);
    features = random.uniform_vector<T>(table.num_in * channels);
    weight = random.uniform_vector<T>(table.num_offsets * channels);
    bias = random.uniform_vector<T>(channels);
    grad_out = random.uniform_vector<T>(table.num_out * channels);
  }
};

// In the order of the offsets, as the kernels.
template <typename T>
std::vector<T> plain_forward(const TableCase& table, const Input<T>& in, int64_t channels) {
  std::vector<T> out;
  for (int64_t i = 0; i < table.num_out; ++i) out.insert(out.end(), in.bias.begin(), in.bias.end());
  table.for_each_pair([&](int64_t i, int64_t k, int64_t j) {
    for (int64_t c = 0; c < channels; ++c) {
      const T product = in.features[j * channels + c] * in.weight[k * channels + c];
      out[i * channels + c] += product;
    }
  });
  return out;
}

// In the order of the rows: as the CPU's kernel, where it makes one split.
template <typename T>
std::vector<T> plain_backward_weight(const TableCase& table, const Input<T>& in, int64_t channels) {
  std::vector<T> out(table.num_offsets * channels);
  table.for_each_pair([&](int64_t i, int64_t k, int64_t j) {
    for (int64_t c = 0; c < channels; ++c) {
      const T product = in.features[j * channels + c] * in.grad_out[i * channels + c];
      out[k * channels + c] += product;
    }
  });
  return out;
}

template <typename T>
void check_cpu() {
  for (const TableCase& table : table_cases()) {
    for (const int64_t channels : kChannels) {
      const Input<T> in(table, channels);
      const auto want = plain_forward(table, in, channels);
      const auto want_weight = plain_backward_weight(table, in, channels);
      for (const cpu::VectorBytes width : cpu::vector_widths()) {
        std::vector<T> out(want.size()), grad_weight(want_weight.size());
        CHECK(cpu::sparse_depthwise_conv(table.forward(), channels, in.features.data(),
                                         in.weight.data(), in.bias.data(), out.data(), width));
        CHECK_EQUAL(out, want);
        CHECK(cpu::sparse_depthwise_conv_backward_weight(table.forward(), channels,
                                                         in.features.data(), in.grad_out.data(),
                                                         grad_weight.data(), width));
        CHECK_EQUAL(grad_weight, want_weight);
      }
    }
  }
}

// `shift`: by how many elements the features miss the alignment of wide loads.
template <typename T>
void check_cuda(double tolerance, int64_t shift = 0) {
  for (const TableCase& table : table_cases()) {
    for (const int64_t channels : kChannels) {
      const Input<T> in(table, channels);
      std::vector<T> shifted(shift);
      shifted.insert(shifted.end(), in.features.begin(), in.features.end());
      const T* features = shifted.data() + shift;
      std::vector<T> out(table.num_out * channels), grad_weight(in.weight.size());
      int32_t error_flag = 0;
      CHECK(cuda::sparse_depthwise_conv(table.forward(), channels, features, in.weight.data(),
                                        in.bias.data(), out.data(), &error_flag,
                                        nullptr) == cudaSuccess);
      std::vector<char> workspace(cuda::sparse_depthwise_conv_backward_weight_workspace_bytes<T>(
          table.forward(), channels));
      CHECK(cuda::sparse_depthwise_conv_backward_weight(
                table.forward(), channels, features, in.grad_out.data(), workspace.data(),
                grad_weight.data(), &error_flag, nullptr) == cudaSuccess);
      CHECK(error_flag == 0);

      std::vector<accumulate_t<T>> want(out.size()), want_weight(grad_weight.size());
      cpu::sparse_depthwise_conv(table.forward(), channels, widened(in.features).data(),
                                 widened(in.weight).data(), widened(in.bias).data(), want.data());
      CHECK_CLOSE(widened(out), want, tolerance);
      cpu::sparse_depthwise_conv_backward_weight(table.forward(), channels,
                                                 widened(in.features).data(),
                                                 widened(in.grad_out).data(), want_weight.data());
      CHECK_CLOSE(widened(grad_weight), want_weight, tolerance);
    }
  }
}

}  // namespace

CASE(every_width_of_registers_gives_the_bits_of_plain_loops) {
  for (const cpu::VectorBytes width : cpu::vector_widths()) std::printf("  %d bytes\n", width);
  check_cpu<float>();
  check_cpu<double>();
}

CASE(cuda_float) { check_cuda<float>(1e-5); }
CASE(cuda_double) { check_cuda<double>(1e-14); }
CASE(cuda_half) { check_cuda<__half>(1e-3); }
CASE(cuda_bfloat16) { check_cuda<__nv_bfloat16>(8e-3); }
CASE(rows_that_are_not_aligned) {
  check_cuda<float>(1e-5, 1);
  check_cuda<__half>(1e-3, 1);
}

// The sums of a split are made by itself: more rows than one has.
CASE(gradients_of_the_weight_in_several_splits) {
  const int64_t channels = 24;
  const TableCase table(5000, 5000, 3);
  const Input<float> in(table, channels);
  std::vector<char> workspace(cuda::sparse_depthwise_conv_backward_weight_workspace_bytes<float>(
      table.forward(), channels));
  std::vector<float> on_cuda(in.weight.size()), on_cpu = on_cuda;
  int32_t error_flag = 0;
  CHECK(workspace.size() > on_cuda.size() * sizeof(float));
  CHECK(cuda::sparse_depthwise_conv_backward_weight(
            table.forward(), channels, in.features.data(), in.grad_out.data(), workspace.data(),
            on_cuda.data(), &error_flag, nullptr) == cudaSuccess);
  CHECK(cpu::sparse_depthwise_conv_backward_weight(table.forward(), channels, in.features.data(),
                                                   in.grad_out.data(), on_cpu.data()));
  const auto want = plain_backward_weight(table, in, channels);
  CHECK_CLOSE(on_cpu, want, 1e-5);
  CHECK_CLOSE(on_cuda, want, 1e-5);
}

CASE(rows_outside_are_left_out_and_reported) {
  for (const int64_t channels : {3, 16}) {
    for (const int32_t outside : {-2, 2, INT32_MIN, INT32_MAX}) {
      const std::vector<int32_t> rows = {outside, 1, -1, 0};
      const KernelTable table{rows.data(), 2, 2, 2};
      const std::vector<float> features(2 * channels, 1), weight(2 * channels, 3);
      std::vector<float> out(2 * channels), grad_weight(2 * channels), workspace(2 * channels);
      const auto check_results = [&] {
        for (int64_t c = 0; c < channels; ++c) {
          CHECK(out[c] == 0 && out[channels + c] == 6);
          CHECK(grad_weight[c] == 1 && grad_weight[channels + c] == 1);
        }
      };
      int32_t flags[2] = {};
      CHECK(cuda::sparse_depthwise_conv<float>(table, channels, features.data(), weight.data(),
                                               nullptr, out.data(), &flags[0],
                                               nullptr) == cudaSuccess);
      CHECK(cuda::sparse_depthwise_conv_backward_weight<float>(
                table, channels, features.data(), features.data(), workspace.data(),
                grad_weight.data(), &flags[1], nullptr) == cudaSuccess);
      CHECK(flags[0] == kIndexOutOfRange && flags[1] == kIndexOutOfRange);
      check_results();
      CHECK(!cpu::sparse_depthwise_conv<float>(table, channels, features.data(), weight.data(),
                                               nullptr, out.data()));
      CHECK(!cpu::sparse_depthwise_conv_backward_weight<float>(
          table, channels, features.data(), features.data(), grad_weight.data()));
      check_results();
    }
  }
}

// A weight that isn't finite reaches nothing that doesn't meet it.
CASE(weights_that_are_not_finite) {
  const std::vector<int32_t> rows = {0, -1, -1, -1, -1};
  const KernelTable table{rows.data(), 1, 5, 1};
  const std::vector<float> features(4, 0), weight(4, INFINITY);
  std::vector<float> out(20);
  int32_t error_flag = 0;
  CHECK(cuda::sparse_depthwise_conv<float>(table, 4, features.data(), weight.data(), nullptr,
                                           out.data(), &error_flag, nullptr) == cudaSuccess);
  for (int64_t i = 0; i < 20; ++i) CHECK(i < 4 ? std::isnan(out[i]) : out[i] == 0);
}

// The last row begins 2^31 elements and more after the first.
CASE(offsets_past_32_bits) {
  constexpr int64_t kRows = 70'001, kManyChannels = 32'768;
  const std::vector<int32_t> rows = {0, kRows - 1};
  const KernelTable table{rows.data(), 2, 1, kRows};
  LargeArray<float> features(kRows * kManyChannels);
  features.data()[5] = 1;
  features.data()[(kRows - 1) * kManyChannels + 5] = 2;
  const std::vector<float> weight(2 * kManyChannels, 1);
  std::vector<float> on_cuda(kManyChannels), on_cpu(kManyChannels), want(kManyChannels);
  want[5] = 3;
  int32_t error_flag = 0;
  CHECK(cuda::sparse_depthwise_conv<float>(table, kManyChannels, features.data(), weight.data(),
                                           nullptr, on_cuda.data(), &error_flag,
                                           nullptr) == cudaSuccess);
  CHECK_EQUAL(on_cuda, want);
  CHECK(cpu::sparse_depthwise_conv<float>(table, kManyChannels, features.data(), weight.data(),
                                          nullptr, on_cpu.data()));
  CHECK_EQUAL(on_cpu, want);
}
