// The CUDA kernel of serialize against the CPU op, which the Python tests compare with the
// definition.
#include "common/error_flag.h"
#include "cpu/serialize.h"
#include "cuda/serialize.h"
#include "harness.h"

using namespace elite_ops;

namespace {

std::vector<int64_t> on_cuda(const std::vector<int32_t>& indices, const CurveArguments& curve,
                             int32_t* error_flag) {
  const auto num_voxels = static_cast<int64_t>(indices.size()) / 4;
  std::vector<int64_t> codes(num_voxels, -7);
  CHECK(cuda::serialize(indices.data(), num_voxels, curve, codes.data(), error_flag, nullptr) ==
        cudaSuccess);
  return codes;
}

void check(int64_t num_voxels, const CurveArguments& curve) {
  harness::Random random(num_voxels + curve.depth);
  std::vector<int32_t> indices;
  for (int64_t v = 0; v < num_voxels; ++v) {
    indices.push_back(
        static_cast<int32_t>(random.integer(std::min<int64_t>(curve.num_samples(), 1 << 30))));
    for (int axis = 0; axis < 3; ++axis) {
      indices.push_back(static_cast<int32_t>(random.integer(int64_t{1} << curve.depth)));
    }
  }
  CHECK(cpu::first_without_code(indices.data(), num_voxels, curve) == num_voxels);
  std::vector<int64_t> want(num_voxels);
  cpu::serialize(indices.data(), num_voxels, curve, want.data());
  int32_t error_flag = 0;
  CHECK_EQUAL(on_cuda(indices, curve, &error_flag), want);
  CHECK(error_flag == 0);
}

}  // namespace

CASE(curves_and_depths) {
  for (const bool hilbert : {false, true}) {
    for (const bool transposed : {false, true}) {
      for (const int depth : {1, 2, 5, 16, 20, 21}) {
        for (const int64_t num_voxels : {0, 1, 300, 600}) {
          check(num_voxels, {hilbert, transposed, depth});
        }
      }
    }
  }
}

CASE(rows_without_a_code_are_reported) {
  const CurveArguments curve{true, false, 20};
  const std::vector<std::vector<int32_t>> rows{
      {-1, 0, 0, 0}, {0, -1, 0, 0}, {0, 0, 1 << 20, 0}, {0, 0, 0, 1 << 20}, {8, 0, 0, 0}};
  for (const auto& row : rows) {
    std::vector<int32_t> indices{7, 1, 1, 1};
    indices.insert(indices.end(), row.begin(), row.end());
    CHECK(cpu::first_without_code(indices.data(), 2, curve) == 1);
    int32_t error_flag = 0;
    const std::vector<int64_t> codes = on_cuda(indices, curve, &error_flag);
    CHECK(error_flag == kIndexOutOfRange);
    CHECK(codes[0] > 0 && codes[1] == -1);
  }
}
