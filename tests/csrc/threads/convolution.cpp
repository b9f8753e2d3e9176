// The kernels that multiply, which have variants for instruction sets: also against plain loops, as
// not every build has the same variants.
#include <array>
#include <numeric>

#include "cpu/encode_voxels.h"
#include "cpu/linear_fused.h"
#include "cpu/micro_gemm.h"
#include "cpu/sparse_conv.h"
#include "segment_cases.h"
#include "threads.h"

using namespace elite_ops;

namespace {

constexpr double kSlope = 0.1;

double leaky_relu(double x) { return x > 0 ? x : kSlope * x; }

// sum over t of row[t] * matrix[t, column]
template <typename T>
double product(const T* row, const T* matrix, int64_t depth, int64_t columns, int64_t column) {
  double sum = 0;
  for (int64_t t = 0; t < depth; ++t) sum += double{row[t]} * double{matrix[t * columns + column]};
  return sum;
}

std::vector<int32_t> random_rows(harness::Random& random, int64_t size, int64_t num_rows,
                                 float density) {
  std::vector<int32_t> rows(size, -1);
  for (int32_t& row : rows) {
    if (random.uniform(0, 1) < density) row = static_cast<int32_t>(random.integer(num_rows));
  }
  return rows;
}

template <typename T>
struct Convolution {
  SparseConvShape shape;
  std::vector<T> features, weight, bias, residual, grad_out, shortcut, shortcut_weight;
  std::vector<int32_t> neighbors;
  static constexpr int64_t kShortcutChannels = 6;

  explicit Convolution(const SparseConvShape& s) : shape(s) {
    harness::Random random(s.num_out);
    features = random.uniform_vector<T>(s.num_in * s.c_in);
    weight = random.uniform_vector<T>(s.num_offsets * s.c_in * s.c_out, -0.1f, 0.1f);
    bias = random.uniform_vector<T>(s.c_out);
    residual = random.uniform_vector<T>(s.num_out * s.c_out);
    grad_out = random.uniform_vector<T>(s.num_out * s.c_out);
    shortcut = random.uniform_vector<T>(s.num_out * kShortcutChannels);
    shortcut_weight = random.uniform_vector<T>(kShortcutChannels * s.c_out);
    neighbors = random_rows(random, s.num_offsets * s.num_out, s.num_in, 0.2f);
  }

  std::vector<T> forward(bool in_range = true, const int64_t* num_rows = nullptr) const {
    std::vector<T> out(shape.num_out * shape.c_out);
    CHECK(in_range ==
          cpu::sparse_conv<T>(shape, features.data(), weight.data(), neighbors.data(),
                              {shortcut.data(), shortcut_weight.data(), kShortcutChannels},
                              {bias.data(), residual.data(), cpu::sum_t<T>(kSlope)}, num_rows,
                              out.data()));
    return out;
  }

  std::vector<double> plain_forward() const {
    std::vector<double> out;
    for (int64_t i = 0; i < shape.num_out; ++i) {
      for (int64_t c = 0; c < shape.c_out; ++c) {
        double sum = double{bias[c]} + double{residual[i * shape.c_out + c]};
        sum += product(shortcut.data() + i * kShortcutChannels, shortcut_weight.data(),
                       kShortcutChannels, shape.c_out, c);
        for (int64_t k = 0; k < shape.num_offsets; ++k) {
          const int64_t row = neighbors[k * shape.num_out + i];
          if (row < 0) continue;
          sum += product(features.data() + row * shape.c_in,
                         weight.data() + k * shape.c_in * shape.c_out, shape.c_in, shape.c_out, c);
        }
        out.push_back(leaky_relu(sum));
      }
    }
    return out;
  }

  std::vector<T> backward_weight(bool in_range = true) const {
    std::vector<T> out(weight.size());
    CHECK(in_range == cpu::sparse_conv_backward_weight(shape, features.data(), grad_out.data(),
                                                       neighbors.data(), out.data()));
    return out;
  }

  std::vector<double> plain_backward_weight() const {
    std::vector<double> out(weight.size());
    for (int64_t e = 0; e < shape.num_offsets * shape.num_out; ++e) {
      if (neighbors[e] < 0) continue;
      const int64_t k = e / shape.num_out, i = e % shape.num_out;
      for (int64_t a = 0; a < shape.c_in; ++a) {
        for (int64_t b = 0; b < shape.c_out; ++b) {
          out[(k * shape.c_in + a) * shape.c_out + b] +=
              double{features[neighbors[e] * shape.c_in + a]} *
              double{grad_out[i * shape.c_out + b]};
        }
      }
    }
    return out;
  }
};

template <typename T>
void check_sparse_conv(double tolerance) {
  const Convolution<T> c({700, 900, 27, 20, 24});
  const int64_t num_rows = 800;
  threads::check_same_bits(
      [&] { return threads::results(c.forward(), c.forward(true, &num_rows)); });
  CHECK_CLOSE(c.forward(), c.plain_forward(), tolerance);
}

// The rows of the second are summed in two parts, which are then added.
template <typename T>
void check_backward_weight(double tolerance) {
  for (const SparseConvShape& shape :
       {SparseConvShape{700, 900, 27, 20, 24}, {700, 9000, 9, 33, 17}}) {
    const Convolution<T> c(shape);
    threads::check_same_bits([&] { return threads::results(c.backward_weight()); });
    CHECK_CLOSE(c.backward_weight(), c.plain_backward_weight(), tolerance);
  }
}

// Several threads find a row that does not exist.
void check_rows_out_of_range() {
  Convolution<float> c({700, 900, 27, 20, 24});
  for (size_t e = 5; e < c.neighbors.size(); e += 70) c.neighbors[e] = 700;
  threads::check_same_bits(
      [&] { return threads::results(c.forward(false), c.backward_weight(false)); });
}

template <typename T>
void check_linear_fused(double tolerance) {
  constexpr int64_t kRows = 1100, kCoarse = 90, kIn = 22, kOut = 34;
  harness::Random random(1);
  const auto features = random.uniform_vector<T>(kRows * kIn);
  const auto weight = random.uniform_vector<T>(kIn * kOut), bias = random.uniform_vector<T>(kOut);
  const auto coarse = random.uniform_vector<T>(kCoarse * kOut);
  auto rows = random_rows(random, kRows, kRows, 0.9f);
  const auto coarse_rows = random_rows(random, kRows, kCoarse, 0.9f);
  const auto run = [&](bool in_range) {
    std::vector<T> out(kRows * kOut);
    CHECK(in_range == cpu::linear_fused<T>(
                          {kRows, kIn, kOut}, {features.data(), rows.data(), kRows}, weight.data(),
                          bias.data(), {{coarse.data(), coarse_rows.data(), kCoarse}},
                          cpu::sum_t<T>(kSlope), nullptr, out.data()));
    return out;
  };
  threads::check_same_bits([&] { return threads::results(run(true)); });
  std::vector<double> want;
  for (int64_t i = 0; i < kRows; ++i) {
    for (int64_t c = 0; c < kOut; ++c) {
      double sum = double{bias[c]};
      if (coarse_rows[i] >= 0) sum += double{coarse[coarse_rows[i] * kOut + c]};
      if (rows[i] >= 0) {
        sum += product(features.data() + rows[i] * kIn, weight.data(), kIn, kOut, c);
      }
      want.push_back(leaky_relu(sum));
    }
  }
  CHECK_CLOSE(run(true), want, tolerance);

  for (int64_t i = 3; i < kRows; i += 50) rows[i] = kRows;
  threads::check_same_bits([&] { return threads::results(run(false)); });
}

// Points in voxels; the backward kernel sums them in two parts.
template <typename T>
struct Encoder {
  static constexpr int64_t kPoints = 9000, kColumns = 4, kFeatures = kColumns + 6, kChannels = 20;
  static constexpr float kOrigin[] = {-1, 0, 2}, kSize[] = {0.5f, 0.25f, 1};
  std::vector<float> points;
  std::vector<T> weight, bias, grad_out;
  std::vector<int32_t> indices;

  Encoder() {
    harness::Random random(1);
    points = random.uniform_vector<float>(kPoints * kColumns);
    weight = random.uniform_vector<T>(kFeatures * kChannels);
    bias = random.uniform_vector<T>(kChannels);
    grad_out = random.uniform_vector<T>(kPoints * kChannels);
    for (int64_t i = 0; i < kPoints * 4; ++i) {
      indices.push_back(static_cast<int32_t>(random.integer(5)));
    }
  }

  // The encoded voxels, and the gradients of weight and bias.
  std::array<std::vector<T>, 3> run(const SegmentCase& segments) const {
    const VoxelPoints voxels{points.data(),
                             kColumns,
                             indices.data(),
                             segments.csr(),
                             {kOrigin[0], kOrigin[1], kOrigin[2]},
                             {kSize[0], kSize[1], kSize[2]}};
    const VoxelEncoder<T> encoder{weight.data(), bias.data(), kChannels, T(kSlope)};
    std::vector<T> out(segments.num_segments() * kChannels), grad_weight(weight.size()),
        grad_bias(bias.size());
    cpu::encode_voxels(voxels, encoder, out.data());
    cpu::encode_voxels_backward(voxels, encoder, grad_out.data(), grad_weight.data(),
                                grad_bias.data());
    return {out, grad_weight, grad_bias};
  }

  // Where every point has a voxel of its own: its offsets from the mean are 0.
  std::array<std::vector<double>, 3> plain() const {
    std::array<std::vector<double>, 3> results;
    auto& [out, grad_weight, grad_bias] = results;
    grad_weight.resize(weight.size());
    grad_bias.resize(bias.size());
    for (int64_t v = 0; v < kPoints; ++v) {
      const float* p = points.data() + v * kColumns;
      std::vector<T> features(p, p + kColumns);
      features.resize(kFeatures);
      for (int axis = 0; axis < 3; ++axis) {
        const float cell = static_cast<float>(indices[v * 4 + 1 + axis]);
        features[kColumns + 3 + axis] = p[axis] - T(cell * kSize[axis] + kOrigin[axis]);
      }
      for (int64_t c = 0; c < kChannels; ++c) {
        const double sum =
            product(features.data(), weight.data(), kFeatures, kChannels, c) + double{bias[c]};
        out.push_back(leaky_relu(sum));
        const double grad = double{grad_out[v * kChannels + c]} * (sum > 0 ? 1 : kSlope);
        grad_bias[c] += grad;
        for (int64_t f = 0; f < kFeatures; ++f) {
          grad_weight[f * kChannels + c] += double{features[f]} * grad;
        }
      }
    }
    return results;
  }
};

template <typename T>
void check_encode_voxels(double tolerance) {
  const Encoder<T> encoder;
  constexpr int64_t kPoints = Encoder<T>::kPoints;
  const SegmentCase segments(random_inverse(kPoints, 700), 700);
  threads::check_same_bits([&] {
    const auto [out, grad_weight, grad_bias] = encoder.run(segments);
    return threads::results(out, grad_weight, grad_bias);
  });

  std::vector<int32_t> single(kPoints);
  std::iota(single.begin(), single.end(), 0);
  const auto got = encoder.run({single, kPoints});
  const auto want = encoder.plain();
  for (size_t i = 0; i < got.size(); ++i) CHECK_CLOSE(got[i], want[i], tolerance);
}

}  // namespace

CASE(sparse_conv_float) { check_sparse_conv<float>(1e-5); }
CASE(sparse_conv_double) { check_sparse_conv<double>(1e-12); }
CASE(sparse_conv_bfloat16) {
  if (cpu::multiplies_bfloat16()) check_sparse_conv<cpu::BFloat16>(1e-2);
}
CASE(sparse_conv_backward_weight_float) { check_backward_weight<float>(1e-4); }
CASE(sparse_conv_backward_weight_double) { check_backward_weight<double>(1e-12); }
CASE(sparse_conv_rows_out_of_range) { check_rows_out_of_range(); }
CASE(linear_fused_float) { check_linear_fused<float>(1e-5); }
CASE(linear_fused_double) { check_linear_fused<double>(1e-12); }
CASE(linear_fused_bfloat16) {
  if (cpu::multiplies_bfloat16()) check_linear_fused<cpu::BFloat16>(1e-2);
}
CASE(encode_voxels_float) { check_encode_voxels<float>(1e-4); }
CASE(encode_voxels_double) { check_encode_voxels<double>(1e-12); }
