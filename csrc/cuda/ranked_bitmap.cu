#include <cub/device/device_scan.cuh>

#include "cuda/launch.cuh"
#include "cuda/ranked_bitmap.cuh"

namespace elite_ops::cuda {
namespace {

__global__ void count_bits_kernel(const unsigned long long* __restrict__ words, int64_t num_words,
                                  uint32_t* __restrict__ counts) {
  const int64_t i = global_thread();
  if (i < num_words) counts[i] = static_cast<uint32_t>(__popcll(words[i]));
  if (i == num_words) counts[i] = 0;
}

}  // namespace

RankedBitmap take_bitmap(Workspace& workspace, int64_t num_words) {
  RankedBitmap bitmap{};
  bitmap.num_words = num_words;
  bitmap.words = workspace.take<unsigned long long>(num_words);
  bitmap.ranks = workspace.take<uint32_t>(num_words + 1);
  cub::DeviceScan::ExclusiveSum(nullptr, bitmap.scan_bytes, bitmap.ranks, bitmap.ranks,
                                num_words + 1);
  bitmap.scan_scratch = workspace.take<unsigned char>(static_cast<int64_t>(bitmap.scan_bytes));
  return bitmap;
}

cudaError_t clear(const RankedBitmap& bitmap, cudaStream_t stream) {
  return cudaMemsetAsync(bitmap.words, 0, bitmap.num_words * sizeof(*bitmap.words), stream);
}

cudaError_t rank_words(const RankedBitmap& bitmap, cudaStream_t stream) {
  const cudaLaunchConfig_t config = one_thread_per(bitmap.num_words + 1, stream);
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&config, count_bits_kernel,
                                    static_cast<const unsigned long long*>(bitmap.words),
                                    bitmap.num_words, bitmap.ranks));
  size_t scan_bytes = bitmap.scan_bytes;
  return cub::DeviceScan::ExclusiveSum(bitmap.scan_scratch, scan_bytes, bitmap.ranks, bitmap.ranks,
                                       bitmap.num_words + 1, stream);
}

}  // namespace elite_ops::cuda
