// What a fused convolution does beside the convolution, in every CUDA kernel: the shortcut's
// product, gathered residuals, and buffers of which only the first rows are true.
#include "cpu/sparse_conv.h"
#include "sparse_conv_cases.h"

using namespace elite_ops;
using namespace sparse_conv_cases;
using enum cuda::SparseConvVariant;

namespace {

constexpr float kSlope = 0.25f;
constexpr float kUntouched = -99.f;
constexpr int64_t kResidualRows = 13;

// A fused convolution and everything that it reads.
template <typename T>
struct FusedCase {
  SparseConvShape shape;
  int64_t channels;  // of the shortcut
  bool tf32;
  Table table;
  std::vector<int32_t> order;  // empty: none
  DeviceArray<T> features, weight, shortcut, shortcut_weight;
  DeviceArray<T> bias;
  std::vector<DeviceArray<T>> residuals;            // read at `residual_rows`, save the first
  std::vector<std::vector<int32_t>> residual_rows;  // one in four is -1

  FusedCase(SparseConvShape s, int64_t channels_, int num_residuals, bool tf32_ = false)
      : FusedCase(s, channels_, num_residuals, tf32_, harness::Random(s.num_out + channels_)) {}

  FusedCase(SparseConvShape s, int64_t channels_, int num_residuals, bool tf32_,
            harness::Random random)
      : shape(s),
        channels(channels_),
        tf32(tf32_),
        table(random_table(random, s, 0.2f)),
        features(random.uniform_vector<T>(s.num_in * s.c_in)),
        weight(random.uniform_vector<T>(s.num_offsets * s.c_in * s.c_out, -0.05f, 0.05f)),
        shortcut(random.uniform_vector<T>(s.num_out * channels)),
        shortcut_weight(random.uniform_vector<T>(channels * s.c_out, -0.1f, 0.1f)),
        bias(random.uniform_vector<T>(s.c_out)) {
    for (int r = 0; r < num_residuals; ++r) {
      const int64_t rows = r == 0 ? s.num_out : kResidualRows;
      residuals.emplace_back(random.uniform_vector<T>(rows * s.c_out));
      residual_rows.emplace_back();
      for (int64_t i = 0; i < s.num_out; ++i) {
        const bool none = random.integer(4) == 0;
        residual_rows[r].push_back(none ? -1 : static_cast<int32_t>(random.integer(rows)));
      }
    }
  }

  // Walks the table's columns in another order, under which the first `count` stay the first.
  void shuffle(int64_t count) {
    const std::vector<int32_t> columns = table.neighbors;
    order.resize(shape.num_out);
    for (int64_t i = 0; i < shape.num_out; ++i) order[i] = static_cast<int32_t>(i);
    harness::Random random(3);
    std::shuffle(order.begin(), order.begin() + count, random.engine);
    for (size_t e = 0; e < columns.size(); ++e) {
      const size_t row = e / shape.num_out * shape.num_out;
      table.neighbors[e] = columns[row + order[e - row]];
    }
  }

  std::vector<float> run(cuda::SparseConvVariant variant, const int64_t* num_rows = nullptr,
                         cudaError_t expected = cudaSuccess) const {
    const DeviceArray<T> out(std::vector<T>(shape.num_out * shape.c_out, T(kUntouched)));
    int32_t error_flag = 0;
    auto args = arguments<T>(shape, features.data, weight.data, table.neighbors.data(), out.data,
                             &error_flag);
    if (!order.empty()) args.order = order.data();
    if (channels > 0) args.shortcut = {shortcut.data, shortcut_weight.data, channels};
    args.epilogue.bias = bias.data;
    args.epilogue.negative_slope = kSlope;
    for (size_t r = 0; r < residuals.size(); ++r) {
      args.epilogue.residuals[r] =
          r == 0 ? GatheredRows<T>{residuals[r].data, nullptr, 0}
                 : GatheredRows<T>{residuals[r].data, residual_rows[r].data(), kResidualRows};
    }
    args.num_rows = num_rows;
    CHECK(cuda::sparse_conv(args, tf32, variant, nullptr) == expected);
    CHECK(error_flag == 0);
    return {out.data, out.data + shape.num_out * shape.c_out};
  }

  // By the CPU kernel, with the residuals added beforehand.
  std::vector<float> want() const {
    const int64_t c_out = shape.c_out;
    std::vector<float> residual(shape.num_out * c_out);
    for (size_t r = 0; r < residuals.size(); ++r) {
      for (int64_t e = 0; e < shape.num_out * c_out; ++e) {
        const int64_t row = r == 0 ? e / c_out : residual_rows[r][e / c_out];
        if (row >= 0) residual[e] += static_cast<float>(residuals[r].data[row * c_out + e % c_out]);
      }
    }
    const auto wide = [](const DeviceArray<T>& array, int64_t size) {
      return std::vector<float>(array.data, array.data + size);
    };
    const auto f = wide(features, shape.num_in * shape.c_in);
    const auto w = wide(weight, shape.num_offsets * shape.c_in * c_out);
    const auto s = wide(shortcut, shape.num_out * channels);
    const auto s_weight = wide(shortcut_weight, channels * c_out), b = wide(bias, c_out);
    SparseConvShortcut<float> product;
    if (channels > 0) product = {s.data(), s_weight.data(), channels};
    std::vector<float> out(shape.num_out * c_out);
    CHECK(cpu::sparse_conv<float>(shape, f.data(), w.data(), table.neighbors.data(), product,
                                  {b.data(), residual.data(), kSlope}, nullptr, out.data()));
    return out;
  }
};

template <typename T>
void check(SparseConvShape shape, int64_t channels, int num_residuals,
           std::vector<cuda::SparseConvVariant> variants, bool tf32 = false) {
  const FusedCase<T> fused(shape, channels, num_residuals, tf32);
  const std::vector<float> want = fused.want();
  for (const auto variant : variants) {
    CHECK_CLOSE(fused.run(variant), want, 2 * tolerance<T>(tf32));
  }
}

const std::vector<cuda::SparseConvVariant> kBoth = {kRows16, kRows32};

}  // namespace

// Chunks of 32, 64 and 128 bytes that both channel counts allow, and of both kinds of columns.
CASE(a_shortcut_of_other_channels) {
  check<__half>({90, 150, 27, 64, 64}, 64, 0, kBoth);
  check<__half>({90, 70, 5, 64, 24}, 128, 1, kBoth);
  check<__half>({90, 70, 3, 16, 16}, 64, 0, kBoth);
  check<__nv_bfloat16>({90, 70, 3, 64, 80}, 32, 1, kBoth);
  check<__nv_bfloat16>({90, 70, 3, 96, 48}, 16, 0, kBoth);
  check<float>({90, 70, 3, 16, 20}, 48, 1, {kRows32}, true);
  check<float>({90, 70, 3, 64, 64}, 32, 0, {kRows32}, true);
}

CASE(a_shortcut_without_tensor_cores) {
  check<float>({90, 70, 27, 16, 16}, 16, 1, {kAutomatic, kGeneral});
  check<float>({90, 70, 3, 5, 20}, 7, 0, {kAutomatic});
  check<double>({90, 70, 3, 5, 20}, 7, 1, {kAutomatic});
  check<__half>({90, 70, 3, 16, 16}, 7, 0, {kAutomatic});
  check<__half>({90, 70, 3, 7, 16}, 16, 0, {kAutomatic});
  check<__half>({90, 70, 3, 0, 16}, 16, 0, {kAutomatic});
}

// The shortcut as the last of a batch of 32 offsets, the only one of its batch, and all there is.
CASE(a_shortcut_in_a_batch_of_its_own) {
  check<__half>({90, 70, 31, 16, 16}, 16, 0, kBoth);
  check<__half>({90, 70, 32, 16, 16}, 32, 0, kBoth);
  check<__half>({90, 70, 40, 64, 16}, 64, 0, kBoth);
  check<__half>({90, 70, 0, 64, 16}, 64, 0, kBoth);
  check<__half>({0, 9, 3, 64, 16}, 64, 0, kBoth);
  check<float>({90, 70, 0, 16, 16}, 16, 0, {kGeneral});
}

CASE(shortcuts_that_tensor_cores_cannot_do_are_refused) {
  for (const auto variant : kBoth) {
    FusedCase<__half>({9, 9, 3, 16, 16}, 7, 0).run(variant, nullptr, cudaErrorInvalidValue);
  }
}

CASE(gathered_residuals) {
  for (const int residuals : {1, 2, 4}) {
    check<__half>({90, 70, 3, 64, 64}, 0, residuals, kBoth);
    check<__nv_bfloat16>({90, 70, 3, 16, 24}, 16, residuals, kBoth);
    check<float>({90, 70, 3, 16, 20}, 0, residuals, {kRows32}, true);
    check<float>({90, 70, 3, 5, 3}, 5, residuals, {kGeneral});
    check<double>({90, 70, 3, 5, 3}, 0, residuals, {kGeneral});
  }
}

namespace {

// The first `count` rows alone, in buffers of just this size.
template <typename T>
FusedCase<T> first_rows(const FusedCase<T>& fused, int64_t count) {
  FusedCase<T> exact = fused;
  exact.table.neighbors.clear();
  for (int64_t k = 0; k < fused.shape.num_offsets; ++k) {
    const auto row = fused.table.neighbors.begin() + k * fused.shape.num_out;
    exact.table.neighbors.insert(exact.table.neighbors.end(), row, row + count);
  }
  exact.shape.num_out = count;
  exact.order.resize(fused.order.empty() ? 0 : count);
  return exact;
}

// Rows past the count are filled with what must not be read, and stay as they were.
template <typename T>
void check_padded(SparseConvShape shape, int64_t channels, bool shuffled,
                  std::vector<cuda::SparseConvVariant> variants, bool tf32 = false,
                  std::vector<int64_t> counts = {0, 1, 15, 16, 17, 64, 65, 150}) {
  for (const int64_t count : counts) {
    FusedCase<T> fused(shape, channels, 2, tf32);
    if (shuffled) fused.shuffle(count);
    const FusedCase<T> exact = first_rows(fused, count);
    constexpr int32_t kWrong = 1 << 30;
    for (size_t e = 0; e < fused.table.neighbors.size(); ++e) {
      if (static_cast<int64_t>(e) % shape.num_out >= count) fused.table.neighbors[e] = kWrong;
    }
    if (shuffled) std::fill(fused.order.begin() + count, fused.order.end(), kWrong);
    std::fill(fused.residual_rows[1].begin() + count, fused.residual_rows[1].end(), kWrong);
    for (const auto variant : variants) {
      std::vector<float> want = exact.run(variant);
      want.resize(shape.num_out * shape.c_out, kUntouched);
      CHECK_EQUAL(fused.run(variant, &count), want);
    }
  }
}

}  // namespace

CASE(rows_past_the_count_are_neither_read_nor_written) {
  for (const bool shuffled : {false, true}) {
    check_padded<__half>({90, 150, 27, 64, 16}, 64, shuffled, kBoth);
    check_padded<float>({90, 150, 5, 16, 20}, 16, shuffled, {kRows32}, true);
    check_padded<float>({90, 150, 5, 5, 3}, 7, shuffled, {kGeneral});
  }
}

// The emulated device runs so few blocks at once that each has several tiles, of rows and columns.
CASE(blocks_go_from_tile_to_tile) {
  const std::vector<int64_t> counts = {63, 1153, 1700};
  const auto variants = {kAutomatic, kRows16, kRows32};
  check_padded<__half>({90, 1700, 3, 16, 16}, 16, true, variants, false, counts);
  check_padded<__half>({90, 700, 2, 16, 136}, 0, false, variants, false, {65, 640, 700});
  check_padded<float>({90, 1700, 2, 3, 5}, 2, false, {kAutomatic}, false, counts);
}

CASE(a_count_that_does_not_fit_is_cut_off) {
  const FusedCase<__half> fused({90, 70, 3, 16, 16}, 16, 1);
  const int64_t more = 71, negative = -1;
  CHECK_EQUAL(fused.run(kRows16, &more), fused.run(kRows16));
  CHECK_EQUAL(fused.run(kRows16, &negative), std::vector<float>(70 * 16, kUntouched));
}

CASE(variants_and_orders_of_rows_give_the_same_bits) {
  FusedCase<__half> fused({90, 150, 27, 64, 64}, 64, 3);
  const std::vector<float> want = fused.run(kRows16);
  CHECK_EQUAL(fused.run(kRows32), want);
  fused.shuffle(150);
  for (const auto variant : kBoth) CHECK_EQUAL(fused.run(variant), want);
}

CASE(everything_around_a_convolution_is_in_its_one_launch) {
  const int64_t count = 65;
  for (const auto variant : kBoth) {
    const int64_t before = emulation::num_enqueued;
    FusedCase<__half>({90, 150, 27, 64, 16}, 64, 4).run(variant, &count);
    CHECK(emulation::num_enqueued - before == 1);
  }
}

CASE(the_cpu_leaves_rows_past_the_count_too) {
  const SparseConvShape shape{40, 1000, 3, 7, 5};
  harness::Random random(1);
  const Table table = random_table(random, shape, 0.5f);
  const auto features = random.uniform_vector<float>(shape.num_in * shape.c_in);
  const auto weight = random.uniform_vector<float>(shape.num_offsets * shape.c_in * shape.c_out);
  const auto run = [&](const int64_t* num_rows) {
    std::vector<float> out(shape.num_out * shape.c_out, kUntouched);
    CHECK(cpu::sparse_conv<float>(shape, features.data(), weight.data(), table.neighbors.data(), {},
                                  {}, num_rows, out.data()));
    return out;
  };
  const std::vector<float> all = run(nullptr);
  for (const int64_t count : {0, 1, 15, 16, 17, 999, 1000}) {
    std::vector<float> want = all;
    std::fill(want.begin() + count * shape.c_out, want.end(), kUntouched);
    CHECK_EQUAL(run(&count), want);
  }
}
