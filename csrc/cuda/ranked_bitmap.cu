#include <cub/device/device_scan.cuh>
#include <iterator>

#include "cuda/launch.cuh"
#include "cuda/ranked_bitmap.cuh"

namespace elite_ops::cuda {
namespace {

// The bit counts of words, as the scan reads them; behind the last word there is a 0.
struct BitCounts {
  using value_type = uint32_t;
  using difference_type = int64_t;
  using pointer = const uint32_t*;
  using reference = uint32_t;
  using iterator_category = std::random_access_iterator_tag;

  const unsigned long long* words;
  int64_t num_words;
  int64_t place;

  __host__ __device__ BitCounts operator+(int64_t step) const {
    return {words, num_words, place + step};
  }
  __device__ uint32_t operator*() const { return (*this)[0]; }
  __device__ uint32_t operator[](int64_t i) const {
    i += place;
    return i < num_words ? static_cast<uint32_t>(__popcll(words[i])) : 0;
  }
};

cudaError_t scan(const RankedBitmap& bitmap, void* scratch, size_t& bytes, cudaStream_t stream) {
  const BitCounts counts{bitmap.words, bitmap.num_words, 0};
  return cub::DeviceScan::ExclusiveSum(scratch, bytes, counts, bitmap.ranks, bitmap.num_words + 1,
                                       stream);
}

}  // namespace

RankedBitmap take_bitmap(Workspace& workspace, int64_t num_words) {
  RankedBitmap bitmap{};
  bitmap.num_words = num_words;
  bitmap.words = workspace.take<unsigned long long>(num_words);
  bitmap.ranks = workspace.take<uint32_t>(num_words + 1);
  scan(bitmap, nullptr, bitmap.scan_bytes, nullptr);
  bitmap.scan_scratch = workspace.take<unsigned char>(static_cast<int64_t>(bitmap.scan_bytes));
  return bitmap;
}

cudaError_t clear(const RankedBitmap& bitmap, cudaStream_t stream) {
  return cudaMemsetAsync(bitmap.words, 0, bitmap.num_words * sizeof(*bitmap.words), stream);
}

cudaError_t rank_words(const RankedBitmap& bitmap, cudaStream_t stream) {
  size_t bytes = bitmap.scan_bytes;
  return scan(bitmap, bitmap.scan_scratch, bytes, stream);
}

}  // namespace elite_ops::cuda
