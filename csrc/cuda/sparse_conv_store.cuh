// What happens to a warp's sums when all is multiplied.
#pragma once

#include <cstdint>
#include <cstring>

#include "packed.cuh"
#include "sparse_conv_rows.cuh"
#include "weight_panel.cuh"

namespace elite_ops::cuda::tensor_core {

constexpr unsigned kAllLanes = 0xffffffffu;

// Turns 8 rows x 8 channels round: a lane of number 4 * g + t gives channel g of rows 2 * t and the
// next, and gets channels 2 * t and the next of row g.
template <typename T>
__device__ __forceinline__ Packed<T, 2> turned(const Packed<T, 2>& own, int lane) {
  const int even_lane = lane % kQuad * 8 + lane / 8;  // has the even channel of this lane's row
  const int odd_lane = even_lane + kQuad;
  const bool is_odd = lane / kQuad % 2 != 0;
  if constexpr (sizeof(T) == 2) {
    uint32_t word;
    memcpy(&word, &own, sizeof(word));
    const uint32_t even = __shfl_sync(kAllLanes, word, even_lane);
    const uint32_t odd = __shfl_sync(kAllLanes, word, odd_lane);
    word = is_odd ? even >> 16 | (odd & 0xffff0000u) : (even & 0xffffu) | odd << 16;
    Packed<T, 2> result;
    memcpy(&result, &word, sizeof(word));
    return result;
  } else {
    // Lanes of even channels give their even row first, the others their odd row.
    const T even = own.values[0], odd = own.values[1];
    const T first = __shfl_sync(kAllLanes, is_odd ? odd : even, is_odd ? odd_lane : even_lane);
    const T second = __shfl_sync(kAllLanes, is_odd ? even : odd, is_odd ? even_lane : odd_lane);
    if (is_odd) return {{second, first}};
    return {{first, second}};
  }
}

// A warp's part of the output: kRowTiles tiles of 8 columns of the table, and a panel of channels.
template <typename T, int kRowTiles>
class WarpOutput {
 public:
  using Sums = PanelSums<kRowTiles>;

  __device__ __forceinline__ WarpOutput(const SparseConvArguments<T>& args, int64_t first_row,
                                        int first_column, int lane)
      : args_(args),
        num_rows_(valid_rows(args.num_rows, args.shape.num_out)),
        first_row_(first_row),
        first_column_(first_column),
        lane_(lane) {}

  __device__ __forceinline__ void finish(Sums& sums) const {
    if (args_.epilogue.has_residuals()) add_residuals(sums);
    const bool all_finite = write(sums);
    if (!__any_sync(kAllLanes, !all_finite)) return;
    __syncwarp();  // each lane has written what others look at
    form_again();
  }

 private:
  static constexpr int kGroups = kTilesPerPanel * 2;  // of 8 channels, of which a lane has one each
  static constexpr int kRows = kRowTiles * 2;         // that a lane has

  // Where the sums lie as the products leave them: those of group `group` and the lane's row `row`.
  __device__ __forceinline__ static float& at(Sums& sums, int group, int row) {
    return sums[group / 2][row / 2][group % 2 * 2 + row % 2];
  }
  __device__ __forceinline__ int channel(int group) const {
    return first_column_ + group * 8 + lane_ / kQuad;
  }
  __device__ __forceinline__ int64_t table_column(int row) const {
    return first_row_ + row / 2 * kTileRows + lane_ % kQuad * 2 + row % 2;
  }

  __device__ __forceinline__ void add_residuals(Sums& sums) const {
    bool outside = false;
#pragma unroll 1
    for (int i = 0; i < kMaxResiduals; ++i) {
      const GatheredRows<T>& residual = args_.epilogue.residuals[i];
      if (residual.data == nullptr) continue;
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        int64_t row = output_row(args_, num_rows_, table_column(r));
        if (row < 0) continue;
        if (residual.rows) {
          row = residual.rows[row];
          outside |= row < -1 || row >= residual.num_rows;
          if (row < 0 || row >= residual.num_rows) continue;
        }
        const T* from = residual.data + row * args_.shape.c_out;
#pragma unroll
        for (int g = 0; g < kGroups; ++g) {
          if (channel(g) < args_.shape.c_out) {
            at(sums, g, r) += static_cast<float>(from[channel(g)]);
          }
        }
      }
    }
    report_if(outside, args_.error_flag);
  }

  // Adds the bias and activates on the way; whether all of the lane's sums are finite.
  __device__ __forceinline__ bool write(Sums& sums) const {
    const SparseConvEpilogue<T>& epilogue = args_.epilogue;
    const auto activated = [&](float sum) {
      return static_cast<T>(sum < 0 ? sum * epilogue.negative_slope : sum);
    };
    int64_t rows[kRowTiles];
#pragma unroll
    for (int r = 0; r < kRowTiles; ++r) {
      rows[r] = output_row(args_, num_rows_, first_row_ + r * kTileRows + lane_ / kQuad);
    }
    float all = 0;  // NaN where a sum is not finite
#pragma unroll
    for (int g = 0; g < kGroups; ++g) {
      const bool has_bias = epilogue.bias && channel(g) < args_.shape.c_out;
      const float bias = has_bias ? static_cast<float>(epilogue.bias[channel(g)]) : 0.f;
      const int first = first_column_ + g * 8 + lane_ % kQuad * 2;  // of the channels it writes
#pragma unroll
      for (int r = 0; r < kRowTiles; ++r) {
        const float a = at(sums, g, r * 2) + bias, b = at(sums, g, r * 2 + 1) + bias;
        all = fmaf(a, 0, fmaf(b, 0, all));
        const auto pair = turned(Packed<T, 2>{{activated(a), activated(b)}}, lane_);
        if (rows[r] >= 0 && first < args_.shape.c_out) {
          *reinterpret_cast<Packed<T, 2>*>(args_.out + rows[r] * args_.shape.c_out + first) = pair;
        }
      }
    }
    return all == 0;
  }

  // Forms what isn't finite again, product by product: for rows that an offset misses its weights
  // were multiplied with zeros, and those that are infinite or NaN made NaN.
  __device__ __forceinline__ void form_again() const {
#pragma unroll 1
    for (int e = 0; e < kGroups * kRows; ++e) {
      const int to = channel(e / kRows);
      const int64_t i = table_column(e % kRows), row = output_row(args_, num_rows_, i);
      if (row < 0 || to >= args_.shape.c_out) continue;
      const auto written = static_cast<float>(args_.out[row * args_.shape.c_out + to]);
      if (written - written != 0) OutputRow<T>(args_, row, i).write_again(to);
    }
  }

  const SparseConvArguments<T>& args_;
  int64_t num_rows_, first_row_;
  int first_column_, lane_;
};

}  // namespace elite_ops::cuda::tensor_core
