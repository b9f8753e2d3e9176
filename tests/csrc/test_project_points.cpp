// The kernel against the CPU, bit for bit.
#include "common/error_flag.h"
#include "cpu/project_points.h"
#include "cuda/project_points.h"
#include "harness.h"

namespace {

using namespace elite_ops;
using harness::Random;

struct Pixels {
  std::vector<int32_t> pixel;
  std::vector<char> valid;

  explicit Pixels(int64_t n) : pixel(2 * n, -7), valid(n, 2) {}
  bool* valid_data() { return reinterpret_cast<bool*>(valid.data()); }
};

// Half of the points behind the sensor, about a third of the others inside the image.
struct Street {
  int64_t num_points, batch_size;
  std::vector<float> points, projection;
  std::vector<int64_t> batch_index;

  Street(int64_t n, int64_t batch, uint64_t seed) : num_points(n), batch_size(batch) {
    Random random(seed);
    points = random.uniform_vector<float>(4 * n, -20, 20);
    const float camera[12] = {40, -20, 0, 0, 30, 0, -20, 0, 1, 0, 0, 0};
    for (int64_t b = 0; b < batch; ++b) {
      for (float value : camera) projection.push_back(value + random.uniform(-0.1f, 0.1f));
    }
    for (int64_t i = 0; i < n; ++i) batch_index.push_back(random.integer(batch));
  }

  Pixels on_cpu(bool batched) const {
    Pixels out(num_points);
    cpu::project_points(points.data(), num_points, 4, projection.data(),
                        batched ? batch_index.data() : nullptr, 60, 80, out.pixel.data(),
                        out.valid_data());
    return out;
  }

  Pixels on_cuda(bool batched, int32_t* error_flag) const {
    Pixels out(num_points);
    CHECK(cuda::project_points(points.data(), num_points, 4, projection.data(), batch_size,
                               batched ? batch_index.data() : nullptr, 60, 80, out.pixel.data(),
                               out.valid_data(), error_flag, nullptr) == cudaSuccess);
    return out;
  }
};

}  // namespace

CASE(equals_cpu) {
  for (const int64_t n : {0, 1, 31, 255, 257, 1023}) {
    const Street street(n, 3, n);
    for (const bool batched : {false, true}) {
      int32_t error_flag = 0;
      const Pixels got = street.on_cuda(batched, &error_flag), want = street.on_cpu(batched);
      CHECK_EQUAL(got.pixel, want.pixel);
      CHECK_EQUAL(got.valid, want.valid);
      CHECK(error_flag == 0);
      if (n > 1000) {
        const auto valid = std::count(got.valid.begin(), got.valid.end(), 1);
        CHECK(valid > n / 10 && valid < n / 2);
      }
    }
  }
}

CASE(batch_index_out_of_range_is_left_out_and_reported) {
  for (const int64_t bad : {int64_t{-1}, int64_t{3}, int64_t{1} << 40}) {
    Street street(100, 3, 5);
    Pixels want = street.on_cpu(true);
    want.pixel[2 * 40] = want.pixel[2 * 40 + 1] = -1;
    want.valid[40] = 0;
    street.batch_index[40] = bad;
    int32_t error_flag = 0;
    const Pixels got = street.on_cuda(true, &error_flag);
    CHECK_EQUAL(got.pixel, want.pixel);
    CHECK_EQUAL(got.valid, want.valid);
    CHECK(error_flag == kIndexOutOfRange);
  }
}
