// The CUDA kernels of confusion_matrix against its CPU kernel.
#include "common/error_flag.h"
#include "cpu/confusion_matrix.h"
#include "cuda/confusion_matrix.h"
#include "harness.h"

namespace {

std::vector<int64_t> on_cuda(const std::vector<int64_t>& prediction,
                             const std::vector<int64_t>& target, int64_t num_classes,
                             int32_t& errors) {
  std::vector<int64_t> matrix(num_classes * num_classes, 0);
  CHECK(elite_ops::cuda::confusion_matrix(prediction.data(), target.data(),
                                          static_cast<int64_t>(target.size()), num_classes,
                                          matrix.data(), &errors, nullptr) == cudaSuccess);
  return matrix;
}

}  // namespace

CASE(equals_the_cpu_kernel) {
  // 120 classes don't fit into shared memory.
  for (int64_t num_classes : {1, 3, 20, 120}) {
    for (int64_t num_rows : {0, 1, 31, 33, 1023, 9000}) {
      harness::Random random(1);
      std::vector<int64_t> prediction(num_rows), target(num_rows), want(num_classes * num_classes);
      for (int64_t& label : prediction) label = random.integer(num_classes);
      for (int64_t& label : target) label = random.integer(num_classes);
      CHECK(elite_ops::cpu::confusion_matrix(prediction.data(), target.data(), num_rows,
                                             num_classes, want.data()) == -1);
      int32_t errors = 0;
      CHECK_EQUAL(on_cuda(prediction, target, num_classes, errors), want);
      CHECK(errors == 0);
    }
  }
}

CASE(leaves_out_labels_out_of_range) {
  for (int64_t bad : {int64_t{-1}, int64_t{2}, int64_t{1} << 40}) {
    int32_t errors = 0;
    CHECK_EQUAL(on_cuda({0, bad, 1}, {1, 1, bad}, 2, errors), (std::vector<int64_t>{0, 0, 1, 0}));
    CHECK(errors == elite_ops::kLabelOutOfRange);
  }
}

CASE(the_cpu_kernel_names_the_first_row_out_of_range) {
  std::vector<int64_t> prediction(60'000, 0), target(60'000, 0), matrix(4);
  prediction[50'000] = 2;
  target[40'000] = -1;
  CHECK(elite_ops::cpu::confusion_matrix(prediction.data(), target.data(), 60'000, 2,
                                         matrix.data()) == 40'000);
}
