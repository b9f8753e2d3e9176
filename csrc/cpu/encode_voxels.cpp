#include "encode_voxels.h"

#include <algorithm>

#include "common/num_rows.h"
#include "csr_rows.h"
#include "point_block.h"
#include "row_epilogue.h"

namespace elite_ops::cpu {
namespace {

// The voxels [begin, end), on one thread.
template <typename T>
void encode_range(const VoxelPoints& voxels, const VoxelEncoder<T>& encoder,
                  const PackedWeight<T>& weight, int64_t begin, int64_t end, T* out) {
  const int32_t* offsets = voxels.voxels.offsets;
  const int64_t channels = encoder.channels;
  for (int64_t v = begin; v < end; ++v) {
    if (offsets[v] == offsets[v + 1]) std::fill_n(out + v * channels, channels, T(0));
  }
  AlignedBuffer<T> total(channels);  // of the points of the voxel so far
  std::fill_n(total.data(), channels, T(0));
  PointBlock<T> block(voxels, encoder, weight);
  block.run(begin, end, [&](int64_t size) {
    for (int64_t i = 0; i < size; ++i) {
      add_leaky_relu(block.sum(i), channels, encoder.negative_slope, total.data());
      if (!block.is_last(i)) continue;
      const int64_t v = block.voxel(i);
      const T share = T(1) / static_cast<T>(offsets[v + 1] - offsets[v]);
      for (int64_t c = 0; c < channels; ++c) {
        out[v * channels + c] = total[c] * share;
        total[c] = 0;
      }
    }
  });
}

}  // namespace

template <typename T>
void encode_voxels(const VoxelPoints& voxels, const VoxelEncoder<T>& encoder, T* out) {
  if (encoder.channels == 0) return;
  const PackedWeight<T> weight(encoder.weight, 1, voxels.num_features(), encoder.channels);
  const int64_t rows = valid_rows(voxels.voxels.num_rows, voxels.voxels.rows);
  parallel_for_rows(voxels.voxels.offsets, rows, encoder.channels, [&](int64_t begin, int64_t end) {
    encode_range(voxels, encoder, weight, begin, end, out);
  });
}

template void encode_voxels<float>(const VoxelPoints&, const VoxelEncoder<float>&, float*);
template void encode_voxels<double>(const VoxelPoints&, const VoxelEncoder<double>&, double*);

}  // namespace elite_ops::cpu
