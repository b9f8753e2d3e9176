// The weight gradient: the pairs are listed, each block sums a share of those of one offset into
// the workspace, and the sums of the shares are added up in their order. What a share is depends on
// sizes and numbers of pairs alone.
#include <algorithm>

#include "launch.cuh"
#include "sparse_conv.h"
#include "sparse_conv_weight_general.cuh"
#include "sparse_conv_weight_mma.cuh"

namespace elite_ops::cuda {
namespace {

// Each share costs a matrix of sums that is written and read, each tile a block.
constexpr int64_t kWantedBlocks = 256;
constexpr int64_t kWantedShares = 128;  // where they fit
constexpr int64_t kShareBytes = 32 << 20;
constexpr int64_t kMinSegmentRows = 2048;
constexpr int kSumThreads = 256;
constexpr int kSumColumns = 64;  // elements of a block that adds up shares
constexpr int kSumRows = kSumThreads / kSumColumns;

template <typename T>
bool on_tensor_cores(const SparseConvShape& shape, bool allow_tf32, const T* features,
                     const T* grad_out) {
  if constexpr (std::is_same_v<T, double>) return false;
  return tensor_core::supports_weight(shape, allow_tf32, features, grad_out);
}

template <typename T>
int64_t wanted_shares(const SparseConvShape& shape, int64_t tile) {
  const int64_t bytes = shape.c_in * shape.c_out * static_cast<int64_t>(sizeof(accumulate_t<T>));
  const int64_t affordable = std::min(kWantedShares, kShareBytes / bytes);
  return std::max<int64_t>({1, affordable, kWantedBlocks / weight_tiles(shape, tile)});
}

// Takes parts of the workspace one after the other, each on 16 bytes.
class Parts {
 public:
  explicit Parts(void* workspace) : workspace_(static_cast<char*>(workspace)) {}

  template <typename Element>
  void take(Element*& part, int64_t count) {
    part = reinterpret_cast<Element*>(workspace_ + bytes_);
    bytes_ += (count * sizeof(Element) + 15) / 16 * 16;
  }
  size_t bytes() const { return bytes_; }

 private:
  char* workspace_;
  size_t bytes_ = 0;
};

// Sets what lies in the workspace; returns its size.
template <typename T>
size_t lay_out(WeightArguments<T>& args, void* workspace) {
  const SparseConvShape& shape = args.shape;
  PairLists& lists = args.lists;
  lists.num_offsets = static_cast<int32_t>(shape.num_offsets);
  lists.num_out = shape.num_out;
  const int64_t wanted = (shape.num_out + kMaxSegments - 1) / kMaxSegments;
  lists.segment_rows = (wanted + kMinSegmentRows - 1) / kMinSegmentRows * kMinSegmentRows;
  lists.segments =
      static_cast<int32_t>((shape.num_out + lists.segment_rows - 1) / lists.segment_rows);
  // The general kernel's tile is the smaller, so it has the fewer shares.
  const int64_t shares =
      wanted_shares<T>(shape, tensor_core::weight_tile(shape)) + shape.num_offsets;
  Parts parts(workspace);
  parts.take(args.partials, shares * shape.c_in * shape.c_out);
  parts.take(lists.pairs, shape.num_offsets * shape.num_out);
  parts.take(args.shares, shape.num_offsets);
  parts.take(lists.counts, shape.num_offsets * lists.segments);
  return parts.bytes();
}

template <typename T>
__global__ void __launch_bounds__(kSumThreads)
    sum_shares_kernel(const accumulate_t<T>* __restrict__ partials, const int2* __restrict__ shares,
                      int64_t matrix, uint32_t blocks_per_offset, T* __restrict__ out) {
  using Sum = accumulate_t<T>;
  __shared__ Sum sums[kSumRows][kSumColumns];
  const int column = static_cast<int>(threadIdx.x) % kSumColumns;
  const int row = static_cast<int>(threadIdx.x) / kSumColumns;
  const uint32_t offset = blockIdx.x / blocks_per_offset;
  const int64_t i = static_cast<int64_t>(blockIdx.x % blocks_per_offset) * kSumColumns + column;
  const int2 of_offset = shares[offset];
  Sum sum = 0;
  if (i < matrix) {
    const Sum* partial = partials + of_offset.x * matrix + i;
#pragma unroll 4
    for (int s = row; s < of_offset.y; s += kSumRows) sum += partial[s * matrix];
  }
  sums[row][column] = sum;
  __syncthreads();
  if (row != 0 || i >= matrix) return;
#pragma unroll
  for (int r = 1; r < kSumRows; ++r) sum += sums[r][column];
  out[offset * matrix + i] = static_cast<T>(sum);
}

}  // namespace

template <typename T>
size_t sparse_conv_backward_weight_workspace_bytes(const SparseConvShape& shape) {
  if (shape.num_out * shape.num_offsets * shape.c_in * shape.c_out == 0) return 0;
  WeightArguments<T> args{};
  args.shape = shape;
  return lay_out(args, nullptr);
}

template <typename T>
cudaError_t sparse_conv_backward_weight(const SparseConvShape& shape, const T* features,
                                        const T* grad_out, const int32_t* neighbors,
                                        void* workspace, bool allow_tf32, T* grad_weight,
                                        int32_t* error_flag, cudaStream_t stream) {
  const int64_t matrix = shape.c_in * shape.c_out, elements = shape.num_offsets * matrix;
  if (elements == 0) return cudaSuccess;
  if (shape.num_out == 0) return cudaMemsetAsync(grad_weight, 0, elements * sizeof(T), stream);

  WeightArguments<T> args{};
  args.shape = shape;
  args.features = features;
  args.grad_out = grad_out;
  lay_out(args, workspace);
  ELITE_CUDA_TRY(list_pairs(shape, neighbors, args.lists, error_flag, stream));

  const bool is_fast = on_tensor_cores(shape, allow_tf32, features, grad_out);
  args.tile = is_fast ? tensor_core::weight_tile(shape) : general::kWeightTile;
  args.wanted_shares = static_cast<int32_t>(wanted_shares<T>(shape, args.tile));
  const int64_t blocks = (args.wanted_shares + shape.num_offsets) * weight_tiles(shape, args.tile);
  if constexpr (!std::is_same_v<T, double>) {
    if (is_fast) ELITE_CUDA_TRY(tensor_core::weight_partials(args, blocks, stream));
  }
  if (!is_fast) ELITE_CUDA_TRY(general::weight_partials(args, blocks, stream));

  const int64_t sum_blocks = (matrix + kSumColumns - 1) / kSumColumns;
  const cudaLaunchConfig_t config =
      launch_config(shape.num_offsets * sum_blocks, kSumThreads, stream);
  return cudaLaunchKernelEx(&config, sum_shares_kernel<T>, args.partials, args.shares, matrix,
                            static_cast<uint32_t>(sum_blocks), grad_weight);
}

#define INSTANTIATE(T)                                                                            \
  template size_t sparse_conv_backward_weight_workspace_bytes<T>(const SparseConvShape&);         \
  template cudaError_t sparse_conv_backward_weight<T>(const SparseConvShape&, const T*, const T*, \
                                                      const int32_t*, void*, bool, T*, int32_t*,  \
                                                      cudaStream_t)
INSTANTIATE(float);
INSTANTIATE(double);
INSTANTIATE(__half);
INSTANTIATE(__nv_bfloat16);
#undef INSTANTIATE

}  // namespace elite_ops::cuda
