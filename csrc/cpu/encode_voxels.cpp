// Points are described in blocks that fill the inner loop of the convolutions, whichever voxels
// they are in; nothing that is as long as the points is written.
#include "encode_voxels.h"

#include <algorithm>

#include "aligned_buffer.h"
#include "common/num_rows.h"
#include "csr_rows.h"
#include "packed_weight.h"
#include "point_describer.h"
#include "row_epilogue.h"

namespace elite_ops::cpu {
namespace {

constexpr int kBlockPoints = 4 * kMicroRows;

// One thread's working memory and its way through the voxels.
template <typename T>
class VoxelWorker {
 public:
  VoxelWorker(const VoxelPoints& voxels, const VoxelEncoder<T>& encoder,
              const PackedWeight<T>& weight, T* out)
      : voxels_(voxels),
        encoder_(encoder),
        product_(weight.product(0)),
        row_stride_(weight.row_stride()),
        features_(kBlockPoints * voxels.num_features()),
        sums_(kBlockPoints * row_stride_),
        total_(encoder.channels),
        out_(out) {
    std::fill_n(total_.data(), encoder.channels, T(0));
    std::fill_n(features_.data(), kBlockPoints * voxels.num_features(), T(0));
    std::fill_n(sums_.data(), kBlockPoints * row_stride_, T(0));
  }

  void run(int64_t begin, int64_t end) {
    const int32_t* offsets = voxels_.voxels.offsets;
    PointDescriber<T> describer(voxels_, offsets[end]);
    for (int64_t v = begin; v < end; ++v) {
      if (offsets[v] == offsets[v + 1]) {
        std::fill_n(out_ + v * encoder_.channels, encoder_.channels, T(0));
        continue;
      }
      describer.enter(v);
      for (int32_t e = offsets[v]; e < offsets[v + 1]; ++e) {
        describer.describe(e, features_.data() + size_ * voxels_.num_features());
        block_[size_] = {v, e + 1 == offsets[v + 1] ? offsets[v + 1] - offsets[v] : 0};
        if (++size_ == kBlockPoints) flush();
      }
    }
    flush();
  }

 private:
  // Adds the block's points to their voxels. Rows past the last point hold an earlier block's.
  void flush() {
    for (int64_t i = 0; i < size_; i += kMicroRows) {
      for (int r = 0; r < kMicroRows; ++r) {
        product_.a[r] = features_.data() + (i + r) * voxels_.num_features();
        product_.c[r] = sum(i + r);
        std::copy_n(encoder_.bias, encoder_.channels, sum(i + r));
      }
      multiply_add_(product_);
    }
    for (int64_t i = 0; i < size_; ++i) {
      add_leaky_relu(sum(i), encoder_.channels, encoder_.negative_slope, total_.data());
      if (block_[i].count > 0) write_mean(block_[i]);
    }
    size_ = 0;
  }

  struct BlockPoint {
    int64_t voxel;
    int32_t count;  // the voxel's points, at the last of them; else 0
  };

  void write_mean(const BlockPoint& last) {
    T* row = out_ + last.voxel * encoder_.channels;
    const T share = T(1) / static_cast<T>(last.count);
    for (int64_t c = 0; c < encoder_.channels; ++c) {
      row[c] = total_[c] * share;
      total_[c] = 0;
    }
  }

  T* sum(int64_t i) { return sums_.data() + i * row_stride_; }

  const VoxelPoints& voxels_;
  const VoxelEncoder<T>& encoder_;
  MicroGemm<T> product_;
  int64_t row_stride_;
  AlignedBuffer<T> features_;  // [kBlockPoints, num_features]
  AlignedBuffer<T> sums_;      // [kBlockPoints, row_stride]
  AlignedBuffer<T> total_;     // [channels], of the points of the voxel so far
  T* out_;
  BlockPoint block_[kBlockPoints];
  int64_t size_ = 0;  // points in the block
  MicroGemmFunction<T> multiply_add_ = fastest_micro_gemm<T>();
};

}  // namespace

template <typename T>
void encode_voxels(const VoxelPoints& voxels, const VoxelEncoder<T>& encoder, T* out) {
  if (encoder.channels == 0) return;
  const PackedWeight<T> weight(encoder.weight, 1, voxels.num_features(), encoder.channels);
  const int64_t rows = true_rows(voxels.voxels.num_rows, voxels.voxels.rows);
  parallel_for_rows(voxels.voxels.offsets, rows, encoder.channels, [&](int64_t begin, int64_t end) {
    VoxelWorker<T>(voxels, encoder, weight, out).run(begin, end);
  });
}

template void encode_voxels<float>(const VoxelPoints&, const VoxelEncoder<float>&, float*);
template void encode_voxels<double>(const VoxelPoints&, const VoxelEncoder<double>&, double*);

}  // namespace elite_ops::cpu
