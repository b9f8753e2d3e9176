// cudaLaunchKernelEx, the only way that kernels are launched here.
#pragma once

#include <utility>

#include "emulator/api.h"
#include "emulator/block.h"

namespace emulation {

// Runs the grid before it returns.
cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel, Kernel body);

}  // namespace emulation

template <typename... Expected, typename... Actual>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Expected...),
                               Actual&&... actual) {
  return [&](Expected... arguments) {
    auto run = [&] { kernel(arguments...); };
    const emulation::Kernel body{[](void* f) { (*static_cast<decltype(run)*>(f))(); }, &run};
    return emulation::launch(*config, reinterpret_cast<const void*>(kernel), body);
  }(std::forward<Actual>(actual)...);
}
