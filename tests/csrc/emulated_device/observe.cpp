// What tests ask the emulated device, and tell it (tests/ops/test_device_errors.py).
#include <cuda_runtime.h>

extern "C" {

__attribute__((visibility("default"))) int64_t elite_device_synchronizations() {
  return emulation::num_device_synchronizations;
}

__attribute__((visibility("default"))) void elite_set_capturing(bool is_capturing) {
  emulation::is_capturing = is_capturing;
}
}
