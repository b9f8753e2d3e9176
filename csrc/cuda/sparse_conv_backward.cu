// The weight gradient in two stages of fixed order: a sum for every split of the rows, kept in the
// workspace, then the sum over the splits. The splits depend on the sizes alone.
#include "common/row_splits.h"
#include "launch.cuh"
#include "sparse_conv.h"
#include "sparse_conv_mma.cuh"
#include "sparse_conv_rows.cuh"
#include "sparse_conv_weight_general.cuh"
#include "sum_partials.cuh"

namespace elite_ops::cuda {
namespace {

constexpr int64_t kSplitRows = 2048;
constexpr int64_t kMaxWorkspaceBytes = 64 << 20;

template <typename T>
RowSplits splits_of(const SparseConvShape& shape) {
  return row_splits(shape.num_out, kSplitRows, shape.num_offsets * shape.c_in * shape.c_out,
                    kMaxWorkspaceBytes / static_cast<int64_t>(sizeof(accumulate_t<T>)));
}

template <typename T>
cudaError_t weight_partials(const WeightArguments<T>& args, bool allow_tf32, int64_t blocks,
                            cudaStream_t stream) {
  if constexpr (!std::is_same_v<T, double>) {
    if (tensor_core::supports_weight(args.shape, allow_tf32, args.features, args.grad_out)) {
      return tensor_core::weight_partials(args, blocks, stream);
    }
  }
  return general::weight_partials(args, blocks, stream);
}

}  // namespace

template <typename T>
size_t sparse_conv_backward_weight_workspace_bytes(const SparseConvShape& shape) {
  return splits_of<T>(shape).count * shape.num_offsets * shape.c_in * shape.c_out *
         sizeof(accumulate_t<T>);
}

template <typename T>
cudaError_t sparse_conv_backward_weight(const SparseConvShape& shape, const T* features,
                                        const T* grad_out, const int32_t* neighbors,
                                        void* workspace, bool allow_tf32, T* grad_weight,
                                        int32_t* error_flag, cudaStream_t stream) {
  const int64_t elements = shape.num_offsets * shape.c_in * shape.c_out;
  if (elements == 0) return cudaSuccess;
  const RowSplits splits = splits_of<T>(shape);
  const int64_t row_tiles = (shape.c_in + kWeightTile - 1) / kWeightTile;
  const int64_t column_tiles = (shape.c_out + kWeightTile - 1) / kWeightTile;
  auto* partials = static_cast<accumulate_t<T>*>(workspace);
  const WeightArguments<T> args{shape,     features,     grad_out, neighbors, splits.rows,
                                row_tiles, column_tiles, partials, error_flag};
  const int64_t blocks = splits.count * shape.num_offsets * row_tiles * column_tiles;
  ELITE_CUDA_TRY(weight_partials(args, allow_tf32, blocks, stream));
  return sum_partials<T>(partials, splits.count, elements, grad_weight, stream);
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
