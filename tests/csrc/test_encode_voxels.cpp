// Both kernels of encode_voxels against a plain loop.
#include "cpu/encode_voxels.h"
#include "cuda/encode_voxels.h"
#include "harness.h"
#include "segment_cases.h"

using namespace elite_ops;

namespace {

// Random points in random voxels.
struct Case {
  int64_t columns, channels;
  std::vector<float> points, weight, bias;
  std::vector<int32_t> indices;
  VoxelPoints voxels;

  Case(const SegmentCase& segments, int64_t columns_, int64_t channels_)
      : columns(columns_), channels(channels_) {
    harness::Random random(columns + channels);
    points = random.uniform_vector<float>(segments.num_points() * columns);
    weight = random.uniform_vector<float>((columns + 6) * channels);
    bias = random.uniform_vector<float>(channels);
    indices.resize(segments.num_segments() * 4);
    for (int32_t& index : indices) index = static_cast<int32_t>(random.integer(5));
    voxels = {points.data(),  columns,          indices.data(),
              segments.csr(), {-1.f, 0.f, 2.f}, {0.5f, 0.25f, 1.f}};
  }
};

std::vector<double> plain_features(const Case& c, int64_t v, int32_t entry) {
  const VoxelPoints& voxels = c.voxels;
  const int32_t first = voxels.voxels.offsets[v], last = voxels.voxels.offsets[v + 1];
  const float* p = voxels.point(entry);
  std::vector<double> features(p, p + c.columns);
  for (int axis = 0; axis < 3; ++axis) {
    double mean = 0;
    for (int32_t e = first; e < last; ++e) mean += double{voxels.point(e)[axis]} / (last - first);
    features.push_back(p[axis] - mean);
  }
  for (int axis = 0; axis < 3; ++axis) {
    const double cell = c.indices[v * 4 + 1 + axis];
    features.push_back(p[axis] - (cell * voxels.voxel_size[axis] + voxels.origin[axis]));
  }
  return features;
}

template <typename T>
std::vector<double> plain(const Case& c, const std::vector<T>& weight, const std::vector<T>& bias) {
  std::vector<double> out(c.voxels.voxels.rows * c.channels);
  for (int64_t v = 0; v < c.voxels.voxels.rows; ++v) {
    const int32_t first = c.voxels.voxels.offsets[v], last = c.voxels.voxels.offsets[v + 1];
    for (int32_t e = first; e < last; ++e) {
      const std::vector<double> features = plain_features(c, v, e);
      for (int64_t column = 0; column < c.channels; ++column) {
        double sum = static_cast<double>(bias[column]);
        for (size_t f = 0; f < features.size(); ++f) {
          sum += features[f] * static_cast<double>(weight[f * c.channels + column]);
        }
        out[v * c.channels + column] += (sum < 0 ? 0.1 * sum : sum) / (last - first);
      }
    }
  }
  return out;
}

// The gradients of weight, then of bias.
template <typename T>
std::vector<double> plain_gradients(const Case& c, const std::vector<T>& weight,
                                    const std::vector<T>& bias, const std::vector<T>& grad_out) {
  const int64_t num_features = c.columns + 6;
  std::vector<double> gradients((num_features + 1) * c.channels);
  for (int64_t v = 0; v < c.voxels.voxels.rows; ++v) {
    const int32_t first = c.voxels.voxels.offsets[v], last = c.voxels.voxels.offsets[v + 1];
    for (int32_t e = first; e < last; ++e) {
      std::vector<double> features = plain_features(c, v, e);
      for (int64_t column = 0; column < c.channels; ++column) {
        double sum = static_cast<double>(bias[column]);
        for (int64_t f = 0; f < num_features; ++f) {
          sum += features[f] * static_cast<double>(weight[f * c.channels + column]);
        }
        const double grad = static_cast<double>(grad_out[v * c.channels + column]) *
                            (sum > 0 ? 1 : 0.1) / (last - first);
        for (int64_t f = 0; f < num_features; ++f) {
          gradients[f * c.channels + column] += grad * features[f];
        }
        gradients[num_features * c.channels + column] += grad;
      }
    }
  }
  return gradients;
}

// Calls `check` with a case of every kind.
template <typename Check>
void for_each_case(const Check& check) {
  for (const SegmentCase& segments : segment_cases()) {
    for (const auto& [columns, channels] : {std::pair{4, 64}, {3, 1}, {20, 33}, {4, 0}}) {
      check(Case(segments, columns, channels));
    }
  }
}

template <typename T>
void check_cuda(double tolerance) {
  for_each_case([&](const Case& c) {
    const std::vector<T> weight(c.weight.begin(), c.weight.end());
    const std::vector<T> bias(c.bias.begin(), c.bias.end());
    std::vector<T> got(c.voxels.voxels.rows * c.channels);
    const VoxelEncoder<T, cuda::accumulate_t<T>> encoder{weight.data(), bias.data(), c.channels,
                                                         0.1f};
    CHECK(cuda::encode_voxels(c.voxels, encoder, got.data(), nullptr) == cudaSuccess);
    CHECK_CLOSE(got, plain(c, weight, bias), tolerance);

    harness::Random random(1);
    const auto grad_out = random.uniform_vector<T>(got.size());
    std::vector<unsigned char> workspace(
        cuda::encode_voxels_backward_workspace_bytes<T>(c.voxels, c.channels));
    std::vector<T> gradients(weight.size() + bias.size());
    CHECK(cuda::encode_voxels_backward(c.voxels, encoder, grad_out.data(), workspace.data(),
                                       gradients.data(), gradients.data() + weight.size(),
                                       nullptr) == cudaSuccess);
    CHECK_CLOSE(gradients, plain_gradients(c, weight, bias, grad_out), 20 * tolerance);
  });
}

template <typename T>
void check_cpu() {
  for_each_case([&](const Case& c) {
    const std::vector<T> weight(c.weight.begin(), c.weight.end());
    const std::vector<T> bias(c.bias.begin(), c.bias.end());
    std::vector<T> got(c.voxels.voxels.rows * c.channels);
    cpu::encode_voxels<T>(c.voxels, {weight.data(), bias.data(), c.channels, T(0.1f)}, got.data());
    CHECK_CLOSE(got, plain(c, weight, bias), 2e-6);

    harness::Random random(1);
    const auto grad_out = random.uniform_vector<T>(got.size());
    std::vector<T> gradients(weight.size() + bias.size());
    cpu::encode_voxels_backward<T>(c.voxels, {weight.data(), bias.data(), c.channels, T(0.1f)},
                                   grad_out.data(), gradients.data(),
                                   gradients.data() + weight.size());
    CHECK_CLOSE(gradients, plain_gradients(c, weight, bias, grad_out), 4e-5);
  });
}

}  // namespace

CASE(voxels_past_the_true_ones_are_not_written) {
  const SegmentCase segments(random_inverse(600, 40), 40);
  Case c(segments, 4, 33);
  for (const int64_t valid_rows : {0, 1, 39, 40}) {
    c.voxels.voxels.num_rows = &valid_rows;
    std::vector<double> want = plain(c, c.weight, c.bias);
    std::fill(want.begin() + valid_rows * c.channels, want.end(), -5);
    std::vector<float> on_cpu(want.size(), -5), on_cuda = on_cpu;
    const VoxelEncoder<float> encoder{c.weight.data(), c.bias.data(), c.channels, 0.1f};
    cpu::encode_voxels(c.voxels, encoder, on_cpu.data());
    CHECK_CLOSE(on_cpu, want, 2e-6);
    CHECK(cuda::encode_voxels(c.voxels, encoder, on_cuda.data(), nullptr) == cudaSuccess);
    CHECK_CLOSE(on_cuda, want, 2e-6);
  }
}

CASE(gradients_are_of_the_true_voxels_alone) {
  const SegmentCase segments(random_inverse(600, 40), 40);
  Case c(segments, 4, 33);
  const VoxelEncoder<float> encoder{c.weight.data(), c.bias.data(), c.channels, 0.1f};
  for (const int64_t valid_rows : {0, 1, 39, 40}) {
    c.voxels.voxels.num_rows = &valid_rows;
    auto grad_out = harness::Random(1).uniform_vector<float>(40 * c.channels);
    std::fill(grad_out.begin() + valid_rows * c.channels, grad_out.end(), 0.f);
    const std::vector<double> want = plain_gradients(c, c.weight, c.bias, grad_out);
    std::fill(grad_out.begin() + valid_rows * c.channels, grad_out.end(), std::nanf(""));
    std::vector<float> on_cpu(want.size()), on_cuda = on_cpu;
    const size_t bias = c.weight.size();
    cpu::encode_voxels_backward(c.voxels, encoder, grad_out.data(), on_cpu.data(),
                                on_cpu.data() + bias);
    CHECK_CLOSE(on_cpu, want, 4e-5);
    std::vector<unsigned char> workspace(
        cuda::encode_voxels_backward_workspace_bytes<float>(c.voxels, c.channels));
    CHECK(cuda::encode_voxels_backward(c.voxels, encoder, grad_out.data(), workspace.data(),
                                       on_cuda.data(), on_cuda.data() + bias,
                                       nullptr) == cudaSuccess);
    CHECK_CLOSE(on_cuda, want, 4e-5);
  }
}

CASE(cpu_equals_a_plain_loop_float) { check_cpu<float>(); }
CASE(cpu_equals_a_plain_loop_double) { check_cpu<double>(); }
CASE(cuda_equals_a_plain_loop_float) { check_cuda<float>(2e-6); }
CASE(cuda_equals_a_plain_loop_double) { check_cuda<double>(2e-6); }
CASE(cuda_equals_a_plain_loop_half) { check_cuda<__half>(1e-3); }
CASE(cuda_equals_a_plain_loop_bfloat16) { check_cuda<__nv_bfloat16>(8e-3); }
