// Points are described again, a block at a time, instead of being kept: describing one costs less
// than writing and reading what describes it. Sums are formed per split of the points, whose ends
// depend on the sizes alone, and then over the splits.
#include <algorithm>

#include "common/num_rows.h"
#include "encode_voxels.h"
#include "parallel.h"
#include "point_block.h"
#include "row_epilogue.h"

namespace elite_ops::cpu {
namespace {

constexpr int32_t kSplitPoints = 8192;

// One thread's working memory, and the sums of a split: a row for each feature, and the bias last.
template <typename T>
class SplitWorker {
 public:
  SplitWorker(const VoxelPoints& voxels, const VoxelEncoder<T>& encoder,
              const PackedWeight<T>& weight, const T* grad_out)
      : voxels_(voxels),
        encoder_(encoder),
        grad_out_(grad_out),
        block_(voxels, encoder, weight),
        row_stride_(weight.row_stride()),
        spare_row_(row_stride_) {
    std::fill_n(spare_row_.data(), row_stride_, T(0));
  }

  // partial [num_features + 1, row_stride]
  void run(int64_t begin, int64_t end, T* partial) {
    std::fill_n(partial, (voxels_.num_features() + 1) * row_stride_, T(0));
    block_.run(begin, end, [&](int64_t size) {
      for (int64_t i = 0; i < size; ++i) differentiate(i);
      add_to(partial, size);
    });
  }

 private:
  // Turns a point's sums into their gradients.
  void differentiate(int64_t i) {
    const int64_t v = block_.voxel(i);
    const T share =
        T(1) / static_cast<T>(voxels_.voxels.offsets[v + 1] - voxels_.voxels.offsets[v]);
    const T* grad = grad_out_ + v * encoder_.channels;
    T* row = block_.sum(i);
    for (int64_t c = 0; c < encoder_.channels; ++c) {
      row[c] = grad[c] * share * (row[c] > 0 ? T(1) : encoder_.negative_slope);
    }
  }

  // partial += the transposed features of the block * the gradients.
  void add_to(T* partial, int64_t size) {
    const int64_t num_features = voxels_.num_features();
    MicroGemm<T> gemm;
    gemm.b = block_.sum(0);
    gemm.a_step = num_features;
    gemm.b_step = row_stride_;
    gemm.b_panel = kPanelWidth;
    gemm.depth = size;
    gemm.panels = row_stride_ / kPanelWidth;
    for (int64_t f = 0; f < num_features; f += kMicroRows) {
      for (int r = 0; r < kMicroRows; ++r) {
        const bool is_feature = f + r < num_features;
        gemm.a[r] = block_.features(0) + (is_feature ? f + r : f);
        gemm.c[r] = is_feature ? partial + (f + r) * row_stride_ : spare_row_.data();
      }
      multiply_add_(gemm);
    }
    for (int64_t i = 0; i < size; ++i) {
      add_row(block_.sum(i), encoder_.channels, partial + num_features * row_stride_);
    }
  }

  const VoxelPoints& voxels_;
  const VoxelEncoder<T>& encoder_;
  const T* grad_out_;
  PointBlock<T> block_;
  int64_t row_stride_;
  AlignedBuffer<T> spare_row_;  // takes the sums of features past the last
  MicroGemmFunction<T> multiply_add_ = fastest_micro_gemm<T>();
};

}  // namespace

template <typename T>
void encode_voxels_backward(const VoxelPoints& voxels, const VoxelEncoder<T>& encoder,
                            const T* grad_out, T* grad_weight, T* grad_bias) {
  const int64_t num_features = voxels.num_features(), channels = encoder.channels;
  std::fill_n(grad_weight, num_features * channels, T(0));
  std::fill_n(grad_bias, channels, T(0));
  if (channels == 0) return;
  const int32_t* offsets = voxels.voxels.offsets;
  const int64_t rows = valid_rows(voxels.voxels.num_rows, voxels.voxels.rows);
  const int64_t splits = (offsets[rows] + kSplitPoints - 1) / kSplitPoints;
  const auto first_voxel = [&](int64_t split) {
    return std::lower_bound(offsets, offsets + rows, split * kSplitPoints) - offsets;
  };
  const PackedWeight<T> weight(encoder.weight, 1, num_features, channels);
  const int64_t partial_size = (num_features + 1) * weight.row_stride();
  AlignedBuffer<T> partials(splits * partial_size);
  parallel_for(0, splits, 1, [&](int64_t begin, int64_t end) {
    SplitWorker<T> worker(voxels, encoder, weight, grad_out);
    for (int64_t s = begin; s < end; ++s) {
      worker.run(first_voxel(s), first_voxel(s + 1), partials.data() + s * partial_size);
    }
  });
  for (int64_t s = 0; s < splits; ++s) {
    const T* row = partials.data() + s * partial_size;
    for (int64_t f = 0; f < num_features; ++f, row += weight.row_stride()) {
      add_row(row, channels, grad_weight + f * channels);
    }
    add_row(row, channels, grad_bias);
  }
}

template void encode_voxels_backward<float>(const VoxelPoints&, const VoxelEncoder<float>&,
                                            const float*, float*, float*);
template void encode_voxels_backward<double>(const VoxelPoints&, const VoxelEncoder<double>&,
                                             const double*, double*, double*);

}  // namespace elite_ops::cpu
