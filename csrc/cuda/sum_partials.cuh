// The end of a sum over rows that was split: one element of a gradient a thread.
#pragma once

#include "cuda/accumulate.cuh"
#include "cuda/launch.cuh"

namespace elite_ops::cuda {

template <typename T>
__global__ void sum_partials_kernel(const accumulate_t<T>* __restrict__ partials, int64_t splits,
                                    int64_t elements, T* __restrict__ out) {
  const int64_t i = global_thread();
  if (i >= elements) return;
  accumulate_t<T> sum = 0;
  for (int64_t s = 0; s < splits; ++s) sum += partials[s * elements + i];
  out[i] = static_cast<T>(sum);
}

// out [elements] = the sum over the splits of partials [splits, elements], in their order.
template <typename T>
cudaError_t sum_partials(const accumulate_t<T>* partials, int64_t splits, int64_t elements, T* out,
                         cudaStream_t stream) {
  const cudaLaunchConfig_t config = one_thread_per(elements, stream);
  return cudaLaunchKernelEx(&config, sum_partials_kernel<T>, partials, splits, elements, out);
}

}  // namespace elite_ops::cuda
