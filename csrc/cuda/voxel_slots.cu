#include "cuda/launch.cuh"
#include "cuda/voxel_slots.h"

namespace elite_ops::cuda {
namespace {

// One thread per element of the points.
template <typename word_t>
__global__ void fill_slots_kernel(const word_t* __restrict__ features, PointSlots slots,
                                  word_t* __restrict__ out) {
  const int64_t i = global_thread();
  if (i >= slots.num_points * slots.channels) return;
  const int64_t point = i / slots.channels;
  const int64_t slot = slots.of(point);
  if (slot >= 0) out[slot * slots.channels + i - point * slots.channels] = features[i];
}

template <typename word_t>
__global__ void take_slots_kernel(const word_t* __restrict__ voxels, PointSlots slots,
                                  word_t* __restrict__ out) {
  const int64_t i = global_thread();
  if (i >= slots.num_points * slots.channels) return;
  const int64_t point = i / slots.channels;
  const int64_t slot = slots.of(point);
  out[i] = slot >= 0 ? voxels[slot * slots.channels + i - point * slots.channels] : word_t{0};
}

}  // namespace

template <typename word_t>
cudaError_t fill_slots(const word_t* features, const PointSlots& slots, word_t* out,
                       cudaStream_t stream) {
  if (slots.num_elements() == 0) return cudaSuccess;
  ELITE_CUDA_TRY(cudaMemsetAsync(out, 0, slots.num_elements() * sizeof(word_t), stream));
  if (slots.num_points == 0) return cudaSuccess;
  const cudaLaunchConfig_t config = one_thread_per(slots.num_points * slots.channels, stream);
  return cudaLaunchKernelEx(&config, fill_slots_kernel<word_t>, features, slots, out);
}

template <typename word_t>
cudaError_t take_slots(const word_t* voxels, const PointSlots& slots, word_t* out,
                       cudaStream_t stream) {
  if (slots.num_points * slots.channels == 0) return cudaSuccess;
  const cudaLaunchConfig_t config = one_thread_per(slots.num_points * slots.channels, stream);
  return cudaLaunchKernelEx(&config, take_slots_kernel<word_t>, voxels, slots, out);
}

#define INSTANTIATE(word_t)                                                                 \
  template cudaError_t fill_slots(const word_t*, const PointSlots&, word_t*, cudaStream_t); \
  template cudaError_t take_slots(const word_t*, const PointSlots&, word_t*, cudaStream_t)
INSTANTIATE(uint16_t);
INSTANTIATE(uint32_t);
INSTANTIATE(uint64_t);
#undef INSTANTIATE

}  // namespace elite_ops::cuda
