// Every variant of the inner loop that this processor can run, against a plain loop.
#include "cpu/aligned_buffer.h"
#include "cpu/micro_gemm.h"
#include "harness.h"

using namespace elite_ops::cpu;

namespace {

// Rows of `a` in reverse order and `c` with a gap after every row, so that mixed-up steps show.
void check_variant(MicroGemmFunction<float> multiply_add, int64_t depth, int64_t panels,
                   int64_t a_step) {
  harness::Random random(depth * 10 + panels);
  const int64_t width = panels * kPanelWidth, stride = width + kPanelWidth;
  const auto a = random.uniform_vector<float>(kMicroRows * depth * a_step);
  AlignedBuffer<float> b(std::max<int64_t>(depth * width, 1)), c(kMicroRows * stride);
  std::generate_n(b.data(), depth * width, [&] { return random.uniform(-1, 1); });
  std::generate_n(c.data(), kMicroRows * stride, [&] { return random.uniform(-1, 1); });
  std::vector<double> want(c.data(), c.data() + kMicroRows * stride);

  MicroGemm<float> gemm;
  gemm.b = b.data();
  gemm.a_step = a_step;
  gemm.b_step = kPanelWidth;
  gemm.b_panel = depth * kPanelWidth;
  gemm.depth = depth;
  gemm.panels = panels;
  for (int r = 0; r < kMicroRows; ++r) {
    gemm.a[r] = a.data() + (kMicroRows - 1 - r) * depth * a_step;
    gemm.c[r] = c.data() + r * stride;
    for (int64_t t = 0; t < depth; ++t) {
      for (int64_t column = 0; column < width; ++column) {
        const int64_t panel = column / kPanelWidth;
        want[r * stride + column] +=
            double(gemm.a[r][t * a_step]) *
            b[panel * gemm.b_panel + t * gemm.b_step + column % kPanelWidth];
      }
    }
  }
  multiply_add(gemm);
  CHECK_CLOSE(std::vector<float>(c.data(), c.data() + kMicroRows * stride), want, 1e-5);
}

// The layout of `b` that interleaves two steps, and sums that differ in their last bits.
void check_bfloat16(int64_t depth, int64_t panels) {
  harness::Random random(depth * 10 + panels);
  const int64_t width = panels * kPanelWidth;
  std::vector<BFloat16> a(kMicroRows * depth);
  AlignedBuffer<BFloat16> b(std::max<int64_t>(depth * width, 1));
  AlignedBuffer<float> c(kMicroRows * width);
  for (BFloat16& x : a) x = BFloat16(random.uniform(-1, 1));
  std::generate_n(b.data(), depth * width, [&] { return BFloat16(random.uniform(-1, 1)); });
  std::generate_n(c.data(), kMicroRows * width, [&] { return random.uniform(-1, 1); });
  std::vector<double> want(c.data(), c.data() + kMicroRows * width);

  MicroGemm<BFloat16> gemm;
  gemm.b = b.data();
  gemm.a_step = 1;
  gemm.b_step = 2 * kPanelWidth;
  gemm.b_panel = depth * kPanelWidth;
  gemm.depth = depth;
  gemm.panels = panels;
  for (int r = 0; r < kMicroRows; ++r) {
    gemm.a[r] = a.data() + r * depth;
    gemm.c[r] = c.data() + r * width;
    for (int64_t t = 0; t < depth; ++t) {
      for (int64_t column = 0; column < width; ++column) {
        const int64_t place = t / 2 * gemm.b_step + column % kPanelWidth * 2 + t % 2;
        want[r * width + column] +=
            double(gemm.a[r][t]) * double(b[column / kPanelWidth * gemm.b_panel + place]);
      }
    }
  }
  fastest_micro_gemm<BFloat16>()(gemm);
  CHECK_CLOSE(std::vector<float>(c.data(), c.data() + kMicroRows * width), want, 1e-5);
}

}  // namespace

CASE(bfloat16_equals_a_plain_loop) {
  if (!multiplies_bfloat16()) {
    std::printf("  not run: this processor doesn't multiply bfloat16\n");
    return;
  }
  for (const int64_t depth : {0, 2, 4, 64}) {
    for (const int64_t panels : {1, 2, 3, 4, 5, 7}) check_bfloat16(depth, panels);
  }
}

CASE(bfloat16_is_rounded_to_nearest_even) {
  const auto bits = [](float x) { return std::vector<int>{BFloat16(x).bits}; };
  CHECK_EQUAL(bits(1.f), std::vector<int>{0x3f80});
  CHECK_EQUAL(bits(1.f + 1.f / 256), std::vector<int>{0x3f80});  // a tie, down to even
  CHECK_EQUAL(bits(1.f + 3.f / 256), std::vector<int>{0x3f82});  // a tie, up to even
  CHECK_EQUAL(bits(1.f + 1.25f / 256), std::vector<int>{0x3f81});
  CHECK_EQUAL(bits(-3.4e38f), std::vector<int>{0xff80});  // past the largest: infinity
  CHECK(BFloat16(std::nanf("")) != BFloat16(std::nanf("")));
  CHECK(float(BFloat16(-2.5f)) == -2.5f);
}

CASE(variants_equal_a_plain_loop) {
  for (const MicroGemmVariant& variant : micro_gemm_variants()) {
    std::printf("  %s\n", variant.name);
    for (const int64_t depth : {0, 1, 3, 64}) {
      for (const int64_t panels : {1, 2, 3, 4, 5, 7}) {
        for (const int64_t a_step : {1, 5}) {
          check_variant(variant.function, depth, panels, a_step);
        }
      }
    }
  }
}
