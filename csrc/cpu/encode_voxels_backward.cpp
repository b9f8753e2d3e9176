// Points are described again, a block at a time, instead of being kept: describing one costs less
// than writing and reading what describes it. Sums are formed per split of the points, whose ends
// depend on the sizes alone, and then over the splits.
#include <algorithm>

#include "aligned_buffer.h"
#include "common/num_rows.h"
#include "encode_voxels.h"
#include "packed_weight.h"
#include "parallel.h"
#include "point_describer.h"
#include "row_epilogue.h"

namespace elite_ops::cpu {
namespace {

constexpr int kBlockPoints = 4 * kMicroRows;
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
        product_(weight.product(0)),
        row_stride_(weight.row_stride()),
        features_(kBlockPoints * voxels.num_features()),
        sums_(kBlockPoints * row_stride_),
        spare_row_(row_stride_) {
    std::fill_n(features_.data(), kBlockPoints * voxels.num_features(), T(0));
  }

  // partial [num_features + 1, row_stride]
  void run(int64_t begin, int64_t end, T* partial) {
    std::fill_n(partial, (voxels_.num_features() + 1) * row_stride_, T(0));
    const int32_t* offsets = voxels_.voxels.offsets;
    PointDescriber<T> describer(voxels_, offsets[end]);
    for (int64_t v = begin; v < end; ++v) {
      if (offsets[v] == offsets[v + 1]) continue;
      describer.enter(v);
      for (int32_t e = offsets[v]; e < offsets[v + 1]; ++e) {
        describer.describe(e, features_.data() + size_ * voxels_.num_features());
        voxel_[size_] = v;
        if (++size_ == kBlockPoints) flush(partial);
      }
    }
    flush(partial);
  }

 private:
  void flush(T* partial) {
    encode();
    for (int64_t i = 0; i < size_; ++i) differentiate(i);
    add_to(partial);
    size_ = 0;
  }

  // The sums before the activation. Rows past the last point hold an earlier block's.
  void encode() {
    for (int64_t i = 0; i < size_; i += kMicroRows) {
      for (int r = 0; r < kMicroRows; ++r) {
        product_.a[r] = features_.data() + (i + r) * voxels_.num_features();
        product_.c[r] = sum(i + r);
        std::fill(std::copy_n(encoder_.bias, encoder_.channels, sum(i + r)),
                  sum(i + r) + row_stride_, T(0));
      }
      multiply_add_(product_);
    }
  }

  // Turns a point's sums into their gradients.
  void differentiate(int64_t i) {
    const int64_t v = voxel_[i];
    const T share =
        T(1) / static_cast<T>(voxels_.voxels.offsets[v + 1] - voxels_.voxels.offsets[v]);
    const T* grad = grad_out_ + v * encoder_.channels;
    T* row = sum(i);
    for (int64_t c = 0; c < encoder_.channels; ++c) {
      row[c] = grad[c] * share * (row[c] > 0 ? T(1) : encoder_.negative_slope);
    }
  }

  // partial += the transposed features of the block * the gradients.
  void add_to(T* partial) {
    const int64_t num_features = voxels_.num_features();
    MicroGemm<T> gemm;
    gemm.b = sums_.data();
    gemm.a_step = num_features;
    gemm.b_step = row_stride_;
    gemm.b_panel = kPanelWidth;
    gemm.depth = size_;
    gemm.panels = row_stride_ / kPanelWidth;
    for (int64_t f = 0; f < num_features; f += kMicroRows) {
      for (int r = 0; r < kMicroRows; ++r) {
        const bool is_feature = f + r < num_features;
        gemm.a[r] = features_.data() + (is_feature ? f + r : f);
        gemm.c[r] = is_feature ? partial + (f + r) * row_stride_ : spare_row_.data();
      }
      multiply_add_(gemm);
    }
    for (int64_t i = 0; i < size_; ++i) {
      add_row(sum(i), encoder_.channels, partial + num_features * row_stride_);
    }
  }

  T* sum(int64_t i) { return sums_.data() + i * row_stride_; }

  const VoxelPoints& voxels_;
  const VoxelEncoder<T>& encoder_;
  const T* grad_out_;
  MicroGemm<T> product_;
  int64_t row_stride_;
  AlignedBuffer<T> features_;   // [kBlockPoints, num_features]
  AlignedBuffer<T> sums_;       // [kBlockPoints, row_stride]
  AlignedBuffer<T> spare_row_;  // takes the sums of features past the last
  int64_t voxel_[kBlockPoints];
  int64_t size_ = 0;  // points in the block
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
  const int64_t rows = true_rows(voxels.voxels.num_rows, voxels.voxels.rows);
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
