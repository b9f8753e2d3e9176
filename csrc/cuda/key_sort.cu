#include <bit>
#include <cub/device/device_radix_sort.cuh>

#include "cuda/key_sort.cuh"
#include "cuda/launch.cuh"

namespace elite_ops::cuda {
namespace {

cudaError_t radix_sort(void* scratch, size_t& bytes, const KeySort& sort, int key_bits,
                       cudaStream_t stream) {
  return cub::DeviceRadixSort::SortPairs(scratch, bytes, static_cast<const uint64_t*>(sort.keys),
                                         sort.sorted_keys, static_cast<const int32_t*>(sort.rows),
                                         sort.sorted_rows, sort.num_rows, 0, key_bits, stream);
}

}  // namespace

KeySort take_key_sort(Workspace& workspace, int64_t num_rows) {
  KeySort sort{};
  sort.num_rows = num_rows;
  sort.keys = workspace.take<uint64_t>(num_rows);
  sort.rows = workspace.take<int32_t>(num_rows);
  sort.sorted_keys = workspace.take<uint64_t>(num_rows);
  sort.sorted_rows = workspace.take<int32_t>(num_rows);
  radix_sort(nullptr, sort.scratch_bytes, sort, 64, nullptr);
  sort.scratch = workspace.take<unsigned char>(static_cast<int64_t>(sort.scratch_bytes));
  return sort;
}

cudaError_t sort_by_key(const KeySort& sort, int64_t key_end, cudaStream_t stream) {
  size_t bytes = sort.scratch_bytes;
  const int key_bits = std::bit_width(static_cast<uint64_t>(key_end - 1));
  return radix_sort(sort.scratch, bytes, sort, key_bits, stream);
}

}  // namespace elite_ops::cuda
