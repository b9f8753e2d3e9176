// Points are described in blocks that fill the inner loop of the convolutions, whichever voxels
// they are in; nothing that is as long as the points is written.
#include "encode_voxels.h"

#include <algorithm>

#include "aligned_buffer.h"
#include "csr_rows.h"
#include "packed_weight.h"
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
        out_(out) {
    std::fill_n(features_.data(), kBlockPoints * voxels.num_features(), T(0));
    std::fill_n(sums_.data(), kBlockPoints * row_stride_, T(0));
  }

  void run(int64_t begin, int64_t end) {
    for (int64_t v = begin; v < end; ++v) {
      std::fill_n(out_ + v * encoder_.channels, encoder_.channels, T(0));
      const int32_t first = voxels_.voxels.offsets[v], last = voxels_.voxels.offsets[v + 1];
      if (first == last) continue;
      find_origins(v, first, last);
      for (int32_t e = first; e < last; ++e) {
        describe(voxels_.point(e), features_.data() + size_ * voxels_.num_features());
        voxel_[size_] = v;
        if (++size_ == kBlockPoints) flush();
      }
    }
    flush();
    for (int64_t v = begin; v < end; ++v) divide(v);
  }

 private:
  // The voxel's mean and its lower corner.
  void find_origins(int64_t v, int32_t first, int32_t last) {
    for (int axis = 0; axis < 3; ++axis) {
      T sum = 0;
      for (int32_t e = first; e < last; ++e) sum += voxels_.point(e)[axis];
      origins_[axis] = sum / static_cast<T>(last - first);
      origins_[3 + axis] = voxels_.corner(v, axis);
    }
  }

  void describe(const float* point, T* features) const {
    std::copy_n(point, voxels_.columns, features);
    for (int i = 0; i < 6; ++i) features[voxels_.columns + i] = point[i % 3] - origins_[i];
  }

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
      add_leaky_relu(sum(i), encoder_.channels, encoder_.negative_slope,
                     out_ + voxel_[i] * encoder_.channels);
    }
    size_ = 0;
  }

  void divide(int64_t v) {
    const int32_t count = voxels_.voxels.offsets[v + 1] - voxels_.voxels.offsets[v];
    if (count < 2) return;
    T* row = out_ + v * encoder_.channels;
    for (int64_t c = 0; c < encoder_.channels; ++c) row[c] /= static_cast<T>(count);
  }

  T* sum(int64_t i) { return sums_.data() + i * row_stride_; }

  const VoxelPoints& voxels_;
  const VoxelEncoder<T>& encoder_;
  MicroGemm<T> product_;
  int64_t row_stride_;
  AlignedBuffer<T> features_;  // [kBlockPoints, num_features]
  AlignedBuffer<T> sums_;      // [kBlockPoints, row_stride]
  T* out_;
  T origins_[6];
  int64_t voxel_[kBlockPoints];  // of each point of the block
  int64_t size_ = 0;             // points in the block
  MicroGemmFunction<T> multiply_add_ = fastest_micro_gemm<T>();
};

}  // namespace

template <typename T>
void encode_voxels(const VoxelPoints& voxels, const VoxelEncoder<T>& encoder, T* out) {
  if (encoder.channels == 0) return;
  const PackedWeight<T> weight(encoder.weight, 1, voxels.num_features(), encoder.channels);
  parallel_for_rows(voxels.voxels.offsets, voxels.voxels.rows, encoder.channels,
                    [&](int64_t begin, int64_t end) {
                      VoxelWorker<T>(voxels, encoder, weight, out).run(begin, end);
                    });
}

template void encode_voxels<float>(const VoxelPoints&, const VoxelEncoder<float>&, float*);
template void encode_voxels<double>(const VoxelPoints&, const VoxelEncoder<double>&, double*);

}  // namespace elite_ops::cpu
