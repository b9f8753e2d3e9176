// Gather, multiply, scatter, one tile of output rows at a time: the tile stays in the second-level
// cache while all offsets add to it, and the weights are packed once a call.
#include "sparse_conv.h"

#include <algorithm>
#include <atomic>
#include <type_traits>

#include "aligned_buffer.h"
#include "collect_pairs.h"
#include "common/num_rows.h"
#include "packed_weight.h"
#include "parallel.h"
#include "prefetch.h"
#include "row_epilogue.h"

namespace elite_ops::cpu {
namespace {

// A tile of about 192 KiB leaves room in the second-level cache for the rows that are gathered, and
// for the weights of all offsets where channels are few.
constexpr int64_t kTileElements = 48 * 1024;
constexpr int64_t kMinTileRows = 96;

// One thread's working memory and its way through a tile.
template <typename T>
class TileWorker {
 public:
  TileWorker(const SparseConvShape& shape, const T* features, const int32_t* neighbors,
             const PackedWeight<T>& weight, const SparseConvShortcut<T>& shortcut,
             const PackedWeight<T>& shortcut_weight, const SparseConvEpilogue<T>& epilogue,
             int64_t tile_rows)
      : shape_(shape),
        features_(features),
        neighbors_(neighbors),
        weight_(weight),
        shortcut_(shortcut),
        shortcut_weight_(shortcut_weight),
        epilogue_(epilogue),
        row_stride_(weight.row_stride()),
        sums_(tile_rows * row_stride_),
        spare_row_(row_stride_),
        bias_(row_stride_),
        rows_in_(tile_rows + kPairSlack),
        rows_out_(tile_rows + kPairSlack) {
    std::fill_n(bias_.data(), row_stride_, sum_t<T>(0));
    if (epilogue.bias) std::copy_n(epilogue.bias, shape.c_out, bias_.data());
  }

  bool in_range() const { return in_range_; }

  void run(int64_t first, int64_t last, T* out) {
    T* const rows = out + first * shape_.c_out;
    tile_ = can_sum_in(rows) ? reinterpret_cast<sum_t<T>*>(rows) : sums_.data();
    start(first, last);
    if (shortcut_.features) add_shortcut(first, last);
    for (int64_t k = 0; k < shape_.num_offsets; ++k) add_offset(k, first, last);
    write(last - first, rows);
  }

 private:
  // Whether rows of the output are such as the inner loop adds to.
  bool can_sum_in(const T* rows) const {
    return std::is_same_v<T, sum_t<T>> && shape_.c_out == row_stride_ &&
           reinterpret_cast<uintptr_t>(rows) % kMemoryAlignment == 0;
  }

  sum_t<T>* sum(int64_t row) {
    return row == kNoRow ? spare_row_.data() : tile_ + row * row_stride_;
  }

  void add_offset(int64_t k, int64_t first, int64_t last) {
    int64_t count = collect_pairs_({neighbors_ + k * shape_.num_out + first, last - first,
                                    shape_.num_in, rows_in_.data(), rows_out_.data()},
                                   in_range_);
    if (k + 1 < shape_.num_offsets) {
      prefetch_row(neighbors_ + (k + 1) * shape_.num_out + first, last - first);
    }
    if (count == 0) return;
    // The last group is filled up with pairs that add to a row that nobody reads.
    static_assert(kMicroRows <= kPairSlack);
    for (; count % kMicroRows != 0; ++count) {
      rows_in_[count] = rows_in_[0];
      rows_out_[count] = kNoRow;
    }
    MicroGemm<T> gemm = weight_.product(k);
    for (int64_t i = 0; i < count; i += kMicroRows) {
      for (int r = 0; r < kMicroRows; ++r) {
        gemm.a[r] = features_ + rows_in_[i + r] * shape_.c_in;
        gemm.c[r] = sum(rows_out_[i + r]);
        if (i + r + kAhead < count) {
          prefetch_row(features_ + rows_in_[i + r + kAhead] * shape_.c_in, shape_.c_in);
        }
      }
      multiply_add_(gemm);
    }
  }

  void add_shortcut(int64_t first, int64_t last) {
    MicroGemm<T> gemm = shortcut_weight_.product(0);
    for (int64_t i = first; i < last; i += kMicroRows) {
      for (int r = 0; r < kMicroRows; ++r) {
        const bool is_row = i + r < last;
        gemm.a[r] = shortcut_.features + (is_row ? i + r : i) * shortcut_.channels;
        gemm.c[r] = sum(is_row ? i + r - first : kNoRow);
      }
      multiply_add_(gemm);
    }
  }

  // A sum starts as what is added to it in any case.
  void start(int64_t first, int64_t last) {
    const int64_t channels = shape_.c_out;
    for (int64_t i = first; i < last; ++i) {
      std::copy_n(bias_.data(), row_stride_, sum(i - first));
      if (epilogue_.residual) add_row(epilogue_.residual + i * channels, channels, sum(i - first));
    }
  }

  void write(int64_t num_rows, T* rows) {
    const bool is_written = static_cast<void*>(tile_) == rows;
    if (is_written && epilogue_.negative_slope == 1) return;
    for (int64_t i = 0; i < num_rows; ++i) {
      write_leaky_relu(sum(i), shape_.c_out, epilogue_.negative_slope, rows + i * shape_.c_out);
    }
  }

  static constexpr int32_t kNoRow = -1;
  static constexpr int64_t kAhead = 2 * kMicroRows;  // pairs between a prefetch and its use

  const SparseConvShape& shape_;
  const T* features_;
  const int32_t* neighbors_;
  const PackedWeight<T>& weight_;
  const SparseConvShortcut<T>& shortcut_;
  const PackedWeight<T>& shortcut_weight_;
  const SparseConvEpilogue<T>& epilogue_;
  int64_t row_stride_;
  AlignedBuffer<sum_t<T>> sums_;       // [tile_rows, row_stride]
  AlignedBuffer<sum_t<T>> spare_row_;  // [row_stride]: what nobody reads is added to it
  AlignedBuffer<sum_t<T>> bias_;       // [row_stride]
  AlignedBuffer<int32_t> rows_in_;
  AlignedBuffer<int32_t> rows_out_;
  CollectPairsFunction collect_pairs_ = collect_pairs_variants().front().function;
  MicroGemmFunction<T> multiply_add_ = fastest_micro_gemm<T>();
  sum_t<T>* tile_ = nullptr;  // sums_, or the rows of the output
  bool in_range_ = true;
};

// Tiles that fill the cache, but at least four a thread where there are rows enough.
int64_t tile_rows_for(int64_t rows, int64_t row_stride) {
  const int64_t fitting = kTileElements / row_stride;
  const int64_t sharing = rows / (4 * num_threads()) + 1;
  return std::max(kMinTileRows, std::min(fitting, sharing));
}

}  // namespace

template <typename T>
bool sparse_conv(const SparseConvShape& shape, const T* features, const T* weight,
                 const int32_t* neighbors, const SparseConvShortcut<T>& shortcut,
                 const SparseConvEpilogue<T>& epilogue, const int64_t* num_rows, T* out) {
  const int64_t rows = valid_rows(num_rows, shape.num_out);
  if (rows == 0 || shape.c_out == 0) return true;
  const PackedWeight<T> packed(weight, shape.num_offsets, shape.c_in, shape.c_out);
  const PackedWeight<T> packed_shortcut(shortcut.weight, shortcut.features ? 1 : 0,
                                        shortcut.channels, shape.c_out);
  const int64_t tile_rows = tile_rows_for(rows, packed.row_stride());
  const int64_t tiles = (rows + tile_rows - 1) / tile_rows;
  std::atomic<int64_t> next_tile{0};
  std::atomic<bool> in_range{true};
  // Which thread takes which tile is left to chance; what is written is not.
  parallel_for(0, std::min<int64_t>(num_threads(), tiles), 1, [&](int64_t, int64_t) {
    TileWorker<T> worker(shape, features, neighbors, packed, shortcut, packed_shortcut, epilogue,
                         tile_rows);
    for (int64_t tile = next_tile++; tile < tiles; tile = next_tile++) {
      const int64_t first = tile * tile_rows;
      worker.run(first, std::min(first + tile_rows, rows), out);
    }
    if (!worker.in_range()) in_range = false;
  });
  return in_range;
}

template bool sparse_conv<float>(const SparseConvShape&, const float*, const float*, const int32_t*,
                                 const SparseConvShortcut<float>&, const SparseConvEpilogue<float>&,
                                 const int64_t*, float*);
template bool sparse_conv<double>(const SparseConvShape&, const double*, const double*,
                                  const int32_t*, const SparseConvShortcut<double>&,
                                  const SparseConvEpilogue<double>&, const int64_t*, double*);
template bool sparse_conv<BFloat16>(const SparseConvShape&, const BFloat16*, const BFloat16*,
                                    const int32_t*, const SparseConvShortcut<BFloat16>&,
                                    const SparseConvEpilogue<BFloat16>&, const int64_t*, BFloat16*);

}  // namespace elite_ops::cpu
