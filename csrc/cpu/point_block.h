// Points described and encoded in blocks that fill the inner loop of the convolutions, whichever
// voxels they are in; nothing that is as long as the points is written.
#pragma once

#include <algorithm>
#include <cstdint>

#include "aligned_buffer.h"
#include "packed_weight.h"
#include "point_describer.h"

namespace elite_ops::cpu {

// One thread's working memory and its way through the voxels.
template <typename T>
class PointBlock {
 public:
  PointBlock(const VoxelPoints& voxels, const VoxelEncoder<T>& encoder,
             const PackedWeight<T>& weight)
      : voxels_(voxels),
        encoder_(encoder),
        product_(weight.product(0)),
        row_stride_(weight.row_stride()),
        features_(kSize * voxels.num_features()),
        sums_(kSize * row_stride_) {
    std::fill_n(features_.data(), kSize * voxels.num_features(), T(0));
    std::fill_n(sums_.data(), kSize * row_stride_, T(0));
  }

  // Calls `use(size)` for each block of the points of the voxels [begin, end), in their order.
  template <typename Use>
  void run(int64_t begin, int64_t end, const Use& use) {
    const int32_t* offsets = voxels_.voxels.offsets;
    PointDescriber<T> describer(voxels_, offsets[end]);
    int64_t size = 0;
    const auto flush = [&] {
      encode(size);
      use(size);
      size = 0;
    };
    for (int64_t v = begin; v < end; ++v) {
      if (offsets[v] == offsets[v + 1]) continue;
      describer.enter(v);
      for (int32_t e = offsets[v]; e < offsets[v + 1]; ++e) {
        describer.describe(e, features(size));
        voxel_[size] = v;
        is_last_[size] = e + 1 == offsets[v + 1];
        if (++size == kSize) flush();
      }
    }
    flush();
  }

  // What describes the block's point i. [num_features]
  T* features(int64_t i) { return features_.data() + i * voxels_.num_features(); }
  // Its sums before the activation, which the caller may change; zeros past the channels.
  T* sum(int64_t i) { return sums_.data() + i * row_stride_; }
  int64_t voxel(int64_t i) const { return voxel_[i]; }
  bool is_last(int64_t i) const { return is_last_[i]; }  // of its voxel's points

 private:
  static constexpr int kSize = 4 * kMicroRows;

  // Features past the last point are an earlier block's.
  void encode(int64_t size) {
    for (int64_t i = 0; i < size; i += kMicroRows) {
      for (int r = 0; r < kMicroRows; ++r) {
        product_.a[r] = features(i + r);
        product_.c[r] = sum(i + r);
        std::copy_n(encoder_.bias, encoder_.channels, sum(i + r));
      }
      multiply_add_(product_);
    }
  }

  const VoxelPoints& voxels_;
  const VoxelEncoder<T>& encoder_;
  MicroGemm<T> product_;
  int64_t row_stride_;
  AlignedBuffer<T> features_;  // [kSize, num_features]
  AlignedBuffer<T> sums_;      // [kSize, row_stride]
  int64_t voxel_[kSize];
  bool is_last_[kSize];
  MicroGemmFunction<T> multiply_add_ = fastest_micro_gemm<T>();
};

}  // namespace elite_ops::cpu
