// The CUDA kernels of sparse convolution against the CPU kernels, in float, half, bfloat16, tf32
// and double, through every path that the sizes select.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "common/error_flag.h"
#include "cpu/sparse_conv.h"
#include "cuda/sparse_conv.h"
#include "harness.h"
#include "large_array.h"
#include "sparse_conv_cases.h"

using namespace elite_ops;
using namespace sparse_conv_cases;

namespace {

constexpr auto kAutomatic = cuda::SparseConvVariant::kAutomatic;

template <typename T>
void check_forward(SparseConvShape shape, float density, bool fused, bool tf32 = false,
                   int64_t misaligned = 0, int64_t first_offset = 0,
                   cuda::SparseConvVariant variant = kAutomatic) {
  harness::Random random(shape.num_out * 100 + shape.c_in);
  const Table table = random_table(random, shape, density, first_offset);
  const DeviceArray<T> features(random.uniform_vector<T>(shape.num_in * shape.c_in), misaligned);
  const float scale = 1.f / static_cast<float>(1 + shape.c_in);
  const DeviceArray<T> weight(
      random.uniform_vector<T>(shape.num_offsets * shape.c_in * shape.c_out, -scale, scale));
  const auto bias = random.uniform_vector<T>(shape.c_out);
  const auto residual = random.uniform_vector<T>(shape.num_out * shape.c_out);

  std::vector<T> out(shape.num_out * shape.c_out);
  int32_t error_flag = 0;
  auto args =
      arguments(shape, features.data, weight.data, table.neighbors.data(), out.data(), &error_flag);
  if (fused) args.epilogue = {bias.data(), {{residual.data()}}, 0.25};
  CHECK(cuda::sparse_conv(args, tf32, variant, nullptr) == cudaSuccess);
  CHECK(error_flag == 0);

  const std::vector<T> plain_features(features.data, features.data + shape.num_in * shape.c_in);
  const std::vector<T> plain_weight(weight.data,
                                    weight.data + shape.num_offsets * shape.c_in * shape.c_out);
  const auto wide_bias = widen(bias), wide_residual = widen(residual);
  cpu::SparseConvEpilogue<float> wide_epilogue;
  if (fused) wide_epilogue = {wide_bias.data(), wide_residual.data(), 0.25f};
  std::vector<float> want(out.size());
  CHECK(cpu::sparse_conv(shape, widen(plain_features).data(), widen(plain_weight).data(),
                         table.neighbors.data(), {}, wide_epilogue, nullptr, want.data()));
  CHECK_CLOSE(widen(out), want, tolerance<T>(tf32));
}

template <typename T>
size_t workspace_bytes(const SparseConvShape& shape) {
  return cuda::sparse_conv_backward_weight_workspace_bytes<T>(shape);
}

template <typename T>
void check_backward_weight(SparseConvShape shape, float density, bool repeats = false,
                           bool tf32 = false) {
  harness::Random random(shape.num_out * 100 + shape.c_out);
  const Table table = random_table(random, shape, density);
  const DeviceArray<T> features(random.uniform_vector<T>(shape.num_in * shape.c_in, 0, 1));
  const DeviceArray<T> grad_out(random.uniform_vector<T>(shape.num_out * shape.c_out, 0, 1));
  std::vector<char> workspace(workspace_bytes<T>(shape));
  std::vector<T> out(shape.num_offsets * shape.c_in * shape.c_out);
  int32_t error_flag = 0;
  const auto run = [&] {
    CHECK(cuda::sparse_conv_backward_weight(shape, features.data, grad_out.data,
                                            table.neighbors.data(), workspace.data(), tf32,
                                            out.data(), &error_flag, nullptr) == cudaSuccess);
  };
  run();
  CHECK(error_flag == 0);
  const std::vector<T> first = out;
  if (repeats) {
    std::fill(out.begin(), out.end(), T(0.f));
    run();
    CHECK(widen(out) == widen(first));
  }

  const std::vector<T> plain_features(features.data, features.data + shape.num_in * shape.c_in);
  const std::vector<T> plain_grad(grad_out.data, grad_out.data + shape.num_out * shape.c_out);
  std::vector<float> want(out.size());
  CHECK(cpu::sparse_conv_backward_weight(shape, widen(plain_features).data(),
                                         widen(plain_grad).data(), table.neighbors.data(),
                                         want.data()));
  CHECK_CLOSE(widen(out), want, tolerance<T>(tf32));
}

template <typename T>
void check_all(SparseConvShape shape, float density) {
  check_forward<T>(shape, density, false);
  check_forward<T>(shape, density, true);
  check_backward_weight<T>(shape, density);
}

}  // namespace

CASE(any_channels) {
  check_all<float>({50, 70, 5, 3, 20}, 0.3f);
  check_all<double>({50, 70, 5, 1, 1}, 0.3f);
  check_all<__half>({50, 70, 3, 20, 66}, 0.3f);
  check_all<__nv_bfloat16>({50, 70, 3, 66, 3}, 0.3f);
}

CASE(no_rows_and_one_row) {
  for (const int64_t num_out : {0, 1}) {
    check_all<float>({num_out, num_out, 27, 16, 16}, 1.f);
    check_all<__half>({num_out, num_out, 27, 16, 16}, 1.f);
  }
  check_all<__half>({0, 9, 3, 16, 16}, 1.f);
}

CASE(no_channels_and_no_offsets) {
  check_all<float>({5, 5, 3, 0, 4}, 1.f);
  check_all<float>({5, 5, 3, 4, 0}, 1.f);
  check_all<float>({5, 5, 0, 4, 4}, 1.f);
}

CASE(rows_outside_are_left_out_and_reported) {
  const SparseConvShape shape{2, 3, 1, 16, 16};
  const DeviceArray<float> features(std::vector<float>(32, 1.f));
  const DeviceArray<float> weight(std::vector<float>(256, 1.f));
  for (const bool tf32 : {false, true}) {
    for (const int32_t outside : {-2, 2}) {
      const std::vector<int32_t> neighbors = {outside, 1, -1};
      std::vector<float> out(48), grad_weight(256);
      int32_t error_flag = 0;
      const auto args = arguments<float>(shape, features.data, weight.data, neighbors.data(),
                                         out.data(), &error_flag);
      CHECK(cuda::sparse_conv(args, tf32, kAutomatic, nullptr) == cudaSuccess);
      CHECK(error_flag == kIndexOutOfRange);
      CHECK(out[0] == 0 && out[16] == 16 && out[32] == 0);

      error_flag = 0;
      std::vector<char> workspace(workspace_bytes<float>(shape));
      CHECK(cuda::sparse_conv_backward_weight<float>(
                shape, features.data, out.data(), neighbors.data(), workspace.data(), tf32,
                grad_weight.data(), &error_flag, nullptr) == cudaSuccess);
      CHECK(error_flag == kIndexOutOfRange);
      CHECK(grad_weight == std::vector<float>(256, 16.f));
    }
  }
}

// Chunks of 32, 64 and 128 bytes, columns that fill a tile or don't, more than one tile of rows.
CASE(tensor_cores) {
  for (const bool fused : {false, true}) {
    check_forward<__half>({90, 150, 27, 16, 16}, 0.2f, fused);
    check_forward<__half>({90, 33, 5, 96, 80}, 0.3f, fused);
    check_forward<__half>({90, 70, 4, 128, 64}, 0.3f, fused);
    check_forward<__nv_bfloat16>({90, 150, 9, 64, 64}, 0.3f, fused);
    check_forward<float>({90, 150, 9, 16, 16}, 0.3f, fused, true);
    check_forward<float>({90, 70, 5, 64, 80}, 0.3f, fused, true);
  }
}

CASE(weight_gradient_on_tensor_cores) {
  check_backward_weight<__half>({90, 150, 3, 16, 16}, 0.6f);
  check_backward_weight<__half>({90, 150, 3, 80, 96}, 0.6f);
  check_backward_weight<__nv_bfloat16>({90, 130, 2, 64, 64}, 0.9f);
  check_backward_weight<float>({90, 150, 3, 64, 80}, 0.6f, false, true);
  check_backward_weight<__half>({90, 3000, 1, 16, 16}, 0.5f, true);
}

// 32, 64 and 128 channels a tile, which they fill or don't, and several tiles.
CASE(weight_gradient_in_tiles) {
  check_backward_weight<__half>({90, 150, 2, 8, 32}, 0.6f);
  check_backward_weight<__half>({90, 150, 2, 24, 104}, 0.6f);
  check_backward_weight<__nv_bfloat16>({90, 150, 2, 128, 128}, 0.6f);
  check_backward_weight<__half>({90, 70, 2, 136, 200}, 0.6f);
  check_backward_weight<float>({90, 150, 2, 4, 28}, 0.6f, false, true);
  check_backward_weight<float>({90, 150, 2, 68, 132}, 0.6f, false, true);
}

CASE(weight_gradient_of_more_offsets_than_lanes) {
  check_backward_weight<__half>({90, 70, 343, 16, 16}, 0.1f);
  check_backward_weight<float>({90, 70, 75, 5, 3}, 0.1f);
}

// More rows than segments of one turn hold, and more pairs than shares of one list.
CASE(weight_gradient_of_many_pairs) { check_backward_weight<__half>({500, 80000, 9, 8, 8}, 1); }

CASE(more_offsets_than_a_batch) {
  check_forward<__half>({90, 70, 75, 16, 16}, 0.05f, true);
  check_forward<float>({90, 70, 75, 16, 16}, 0.05f, true, true);
}

CASE(a_batch_of_offsets_that_meets_nothing) {
  check_forward<__half>({90, 70, 40, 16, 16}, 0.3f, false, false, 0, 35);
}

CASE(many_rows_take_larger_blocks) {
  check_forward<__half>({500, 32 * 1024 + 5, 3, 16, 16}, 0.002f, false);
}

// Rows that fill tiles or don't, one to six chunks of channels, columns that fill a panel or don't,
// offsets that miss whole warps, several batches of offsets.
CASE(both_heights_of_a_warp) {
  using enum cuda::SparseConvVariant;
  for (const auto variant : {kRows16, kRows32}) {
    const auto check = [&](SparseConvShape shape, float density, bool fused,
                           int64_t first_offset = 0) {
      check_forward<__half>(shape, density, fused, false, 0, first_offset, variant);
    };
    check({90, 300, 27, 64, 64}, 0.01f, false);
    check({90, 128, 27, 64, 8}, 0.1f, true);
    check({90, 129, 3, 128, 72}, 0.3f, true);
    check({90, 64, 3, 192, 24}, 0.3f, false);
    check({90, 300, 5, 16, 136}, 0.3f, true);
    check({90, 64, 3, 32, 200}, 0.3f, false);
    check({1, 1, 27, 64, 64}, 1, true);
    check({0, 9, 3, 64, 16}, 1, true);
    check({9, 9, 0, 64, 16}, 1, true);
    check({90, 70, 125, 64, 40}, 0.05f, true);
    check({90, 70, 40, 64, 16}, 0.3f, false, 35);
  }
  check_forward<__nv_bfloat16>({90, 65, 9, 64, 128}, 0.3f, true, false, 0, 0, kRows32);
  check_forward<float>({90, 65, 9, 64, 128}, 0.3f, true, true, 0, 0, kRows32);
  check_forward<float>({90, 165, 27, 16, 36}, 0.3f, true, true, 0, 0, kRows32);
}

namespace {

constexpr int64_t kInfiniteChannel = 3;

// What a variant computes, with the rows in their order or in another, and all weights finite or
// but one of offset `infinite_offset`.
template <typename T>
std::vector<float> convolve(const SparseConvShape& shape, cuda::SparseConvVariant variant,
                            bool tf32, bool shuffled, cudaError_t expected = cudaSuccess,
                            int64_t infinite_offset = -1) {
  harness::Random random(7);
  const Table table = random_table(random, shape, 0.2f);
  const DeviceArray<T> features(random.uniform_vector<T>(shape.num_in * shape.c_in));
  const DeviceArray<T> weight(
      random.uniform_vector<T>(shape.num_offsets * shape.c_in * shape.c_out));
  if (infinite_offset >= 0) {
    weight.data[infinite_offset * shape.c_in * shape.c_out + kInfiniteChannel] = T(INFINITY);
  }
  std::vector<int32_t> order(shape.num_out), neighbors(table.neighbors);
  for (int64_t i = 0; i < shape.num_out; ++i) order[i] = static_cast<int32_t>(i);
  if (shuffled) {
    std::shuffle(order.begin(), order.end(), random.engine);
    for (size_t e = 0; e < neighbors.size(); ++e) {
      const int64_t k = static_cast<int64_t>(e) / shape.num_out;
      neighbors[e] = table.neighbors[k * shape.num_out + order[e % shape.num_out]];
    }
  }
  std::vector<T> out(shape.num_out * shape.c_out);
  int32_t error_flag = 0;
  auto args =
      arguments<T>(shape, features.data, weight.data, neighbors.data(), out.data(), &error_flag);
  if (shuffled) args.order = order.data();
  CHECK(cuda::sparse_conv(args, tf32, variant, nullptr) == expected);
  CHECK(error_flag == 0);
  return widen(out);
}

template <typename T>
void check_same_bits(const SparseConvShape& shape, std::vector<cuda::SparseConvVariant> variants,
                     bool tf32 = false) {
  const std::vector<float> want = convolve<T>(shape, variants[0], tf32, false);
  for (const cuda::SparseConvVariant variant : variants) {
    CHECK(convolve<T>(shape, variant, tf32, false) == want);
    CHECK(convolve<T>(shape, variant, tf32, true) == want);
  }
}

}  // namespace

CASE(variants_and_orders_of_rows_give_the_same_bits) {
  using enum cuda::SparseConvVariant;
  check_same_bits<__half>({90, 150, 27, 64, 64}, {kRows16, kRows32});
  check_same_bits<__half>({90, 150, 9, 32, 136}, {kRows16, kRows32});
  check_same_bits<__nv_bfloat16>({90, 150, 9, 128, 48}, {kRows16, kRows32});
  check_same_bits<float>({90, 150, 9, 16, 32}, {kRows32}, true);
  check_same_bits<float>({90, 70, 9, 5, 3}, {kGeneral});
}

// Sums that aren't finite are formed again, and no others.
CASE(an_infinite_weight_leaves_other_channels_alone) {
  using enum cuda::SparseConvVariant;
  const SparseConvShape shape{90, 150, 27, 64, 64};
  for (const auto variant : {kRows16, kRows32}) {
    const std::vector<float> finite = convolve<__half>(shape, variant, false, false);
    std::vector<float> got = convolve<__half>(shape, variant, false, false, cudaSuccess, 3);
    CHECK(got != finite);
    for (size_t e = kInfiniteChannel; e < got.size(); e += shape.c_out) got[e] = finite[e];
    CHECK_EQUAL(got, finite);
  }
}

CASE(variants_that_cannot_are_refused) {
  using enum cuda::SparseConvVariant;
  for (const auto variant : {kRows16, kRows32}) {
    convolve<__half>({9, 9, 3, 5, 16}, variant, false, false, cudaErrorInvalidValue);
    convolve<double>({9, 9, 3, 64, 64}, variant, false, false, cudaErrorInvalidValue);
    convolve<float>({9, 9, 3, 64, 64}, variant, false, false, cudaErrorInvalidValue);
  }
  convolve<float>({9, 9, 3, 64, 64}, kRows16, true, false, cudaErrorInvalidValue);
}

CASE(an_order_that_names_no_row_is_left_out_and_reported) {
  const DeviceArray<__half> features(std::vector<__half>(32, __half(1.f)));
  const DeviceArray<__half> weight(std::vector<__half>(256, __half(1.f)));
  const std::vector<int32_t> neighbors = {0, 1}, order = {2, 0};
  std::vector<__half> out(32, __half(-7.f));
  int32_t error_flag = 0;
  auto args = arguments<__half>({2, 2, 1, 16, 16}, features.data, weight.data, neighbors.data(),
                                out.data(), &error_flag);
  args.order = order.data();
  CHECK(cuda::sparse_conv(args, false, kAutomatic, nullptr) == cudaSuccess);
  CHECK(error_flag == kIndexOutOfRange);
  CHECK(static_cast<float>(out[0]) == 16.f && static_cast<float>(out[16]) == -7.f);
}

CASE(many_rows_in_exact_buffers_take_large_warps) {
  using enum cuda::SparseConvVariant;
  constexpr int64_t kMany = cuda::kRowsForLargeWarps;
  static_assert(cuda::choose_variant(kMany, false, 2) == kRows32);
  static_assert(cuda::choose_variant(kMany - 1, false, 2) == kRows16);
  static_assert(cuda::choose_variant(kMany, true, 2) == kRows16);
  static_assert(cuda::choose_variant(1, true, 4) == kRows32);
}

CASE(rows_that_do_not_start_on_16_bytes) {
  check_forward<__half>({9, 9, 3, 16, 16}, 1, false, false, 1);
}

CASE(weight_gradient_over_several_shares) {
  check_backward_weight<float>({100, 5000, 1, 4, 4}, 0.1f, true);
}

// 2^32 elements of features, of which the only page that exists is the one that is written.
CASE(element_offsets_need_more_than_32_bits) {
  const SparseConvShape shape{int64_t{1} << 28, 1, 1, 16, 16};
  LargeArray<float> array(shape.num_in * shape.c_in);
  float* const features = array.data();
  const int32_t last = static_cast<int32_t>(shape.num_in - 1);
  std::fill_n(features + last * shape.c_in, shape.c_in, 2.f);
  const DeviceArray<float> weight(std::vector<float>(256, 1.f));
  const std::vector<float> want(16, 32.f), want_gradient(256, 64.f);

  std::vector<float> out(16), grad_weight(256);
  CHECK(cpu::sparse_conv<float>(shape, features, weight.data, &last, {}, {}, nullptr, out.data()));
  CHECK_EQUAL(out, want);
  CHECK(cpu::sparse_conv_backward_weight<float>(shape, features, want.data(), &last,
                                                grad_weight.data()));
  CHECK_EQUAL(grad_weight, want_gradient);
  for (const bool tf32 : {false, true}) {
    int32_t error_flag = 0;
    const DeviceArray<float> grad_out(want);
    std::vector<char> workspace(workspace_bytes<float>(shape));
    const auto args =
        arguments<float>(shape, features, weight.data, &last, out.data(), &error_flag);
    CHECK(cuda::sparse_conv(args, tf32, kAutomatic, nullptr) == cudaSuccess);
    CHECK_EQUAL(out, want);
    CHECK(cuda::sparse_conv_backward_weight<float>(shape, features, grad_out.data, &last,
                                                   workspace.data(), tf32, grad_weight.data(),
                                                   &error_flag, nullptr) == cudaSuccess);
    CHECK_EQUAL(grad_weight, want_gradient);
    CHECK(error_flag == 0);
  }
}

CASE(element_offsets_need_more_than_32_bits_in_other_variants) {
  using enum cuda::SparseConvVariant;
  const SparseConvShape shape{int64_t{1} << 26, 1, 1, 64, 16};
  LargeArray<__half> features(shape.num_in * shape.c_in);
  const auto last = static_cast<int32_t>(shape.num_in - 1);
  std::fill_n(features.data() + last * shape.c_in, shape.c_in, __half(2.f));
  const DeviceArray<__half> weight(std::vector<__half>(1024, __half(1.f)));
  for (const auto variant : {kRows16, kRows32}) {
    std::vector<__half> out(16);
    int32_t error_flag = 0;
    const auto args =
        arguments<__half>(shape, features.data(), weight.data, &last, out.data(), &error_flag);
    CHECK(cuda::sparse_conv(args, false, variant, nullptr) == cudaSuccess);
    CHECK_EQUAL(widen(out), std::vector<float>(16, 128.f));
    CHECK(error_flag == 0);
  }
}
