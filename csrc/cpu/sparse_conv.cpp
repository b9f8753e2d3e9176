// Gather, multiply, scatter, one tile of output rows at a time: the tile stays in the second-level
// cache while all offsets add to it, and the weights are packed once a call.
#include "sparse_conv.h"

#include <algorithm>
#include <atomic>

#include "aligned_buffer.h"
#include "micro_gemm.h"
#include "parallel.h"
#include "sparse_conv_pairs.h"

namespace elite_ops::cpu {
namespace {

// A tile of about 256 KiB leaves room for the weights of an offset and the rows that are gathered.
constexpr int64_t kTileElements = 64 * 1024;
constexpr int64_t kMinTileRows = 96;

int64_t panels_of(int64_t columns) { return (columns + kPanelWidth - 1) / kPanelWidth; }

// [K, c_in, c_out] -> [K, panels, c_in, kPanelWidth], the last panel filled up with zeros.
template <typename T>
AlignedBuffer<T> pack_weight(const SparseConvShape& shape, const T* weight) {
  const int64_t panels = panels_of(shape.c_out);
  AlignedBuffer<T> packed(shape.num_offsets * panels * shape.c_in * kPanelWidth);
  parallel_for(0, shape.num_offsets, 1, [&](int64_t begin, int64_t end) {
    T* to = packed.data() + begin * panels * shape.c_in * kPanelWidth;
    for (int64_t k = begin; k < end; ++k) {
      for (int64_t p = 0; p < panels; ++p) {
        const int64_t width = std::min<int64_t>(kPanelWidth, shape.c_out - p * kPanelWidth);
        for (int64_t c = 0; c < shape.c_in; ++c, to += kPanelWidth) {
          const T* from = weight + (k * shape.c_in + c) * shape.c_out + p * kPanelWidth;
          std::fill(std::copy_n(from, width, to), to + kPanelWidth, T(0));
        }
      }
    }
  });
  return packed;
}

// One thread's working memory and its way through a tile.
template <typename T>
class TileWorker {
 public:
  TileWorker(const SparseConvShape& shape, const T* features, const int32_t* neighbors,
             const T* packed_weight, int64_t tile_rows)
      : shape_(shape),
        features_(features),
        neighbors_(neighbors),
        packed_weight_(packed_weight),
        panels_(panels_of(shape.c_out)),
        spare_row_(tile_rows),
        sums_((tile_rows + 1) * panels_ * kPanelWidth),
        rows_in_(tile_rows + kMicroRows),
        rows_out_(tile_rows + kMicroRows) {}

  bool in_range() const { return in_range_; }

  void run(int64_t first, int64_t last, const SparseConvEpilogue<T>& epilogue, T* out) {
    start(first, last, epilogue);
    for (int64_t k = 0; k < shape_.num_offsets; ++k) add_offset(k, first, last);
    write(first, last, epilogue.negative_slope, out);
  }

 private:
  int64_t row_stride() const { return panels_ * kPanelWidth; }

  void add_offset(int64_t k, int64_t first, int64_t last) {
    int64_t count = collect_pairs(neighbors_ + k * shape_.num_out, first, last, shape_.num_in,
                                  rows_in_.data(), rows_out_.data(), in_range_);
    if (count == 0) return;
    // The last group is filled up with pairs that add to a row that nobody reads.
    for (; count % kMicroRows != 0; ++count) {
      rows_in_[count] = rows_in_[0];
      rows_out_[count] = static_cast<int32_t>(spare_row_);
    }
    MicroGemm<T> gemm;
    gemm.b = packed_weight_ + k * panels_ * shape_.c_in * kPanelWidth;
    gemm.a_step = 1;
    gemm.b_step = kPanelWidth;
    gemm.b_panel = shape_.c_in * kPanelWidth;
    gemm.depth = shape_.c_in;
    gemm.panels = panels_;
    for (int64_t i = 0; i < count; i += kMicroRows) {
      for (int r = 0; r < kMicroRows; ++r) {
        gemm.a[r] = features_ + rows_in_[i + r] * shape_.c_in;
        gemm.c[r] = sums_.data() + rows_out_[i + r] * row_stride();
        if (i + r + kAhead < count) {
          prefetch_row(features_ + rows_in_[i + r + kAhead] * shape_.c_in, shape_.c_in);
        }
      }
      multiply_add_(gemm);
    }
  }

  // A sum starts as what is added to it in any case.
  void start(int64_t first, int64_t last, const SparseConvEpilogue<T>& epilogue) {
    std::fill_n(sums_.data(), (last - first) * row_stride(), T(0));
    for (int64_t i = first; i < last; ++i) {
      T* sum = sums_.data() + (i - first) * row_stride();
      if (epilogue.bias) add(epilogue.bias, sum);
      if (epilogue.residual) add(epilogue.residual + i * shape_.c_out, sum);
    }
  }

  void add(const T* row, T* sum) const {
    for (int64_t c = 0; c < shape_.c_out; ++c) sum[c] += row[c];
  }

  void write(int64_t first, int64_t last, T negative_slope, T* out) {
    for (int64_t i = first; i < last; ++i) {
      const T* sum = sums_.data() + (i - first) * row_stride();
      T* to = out + i * shape_.c_out;
      if (negative_slope == T(1)) {
        std::copy_n(sum, shape_.c_out, to);
      } else {
        // Without a branch, so that it vectorizes; exact, since one of the two parts is zero.
        for (int64_t c = 0; c < shape_.c_out; ++c) {
          to[c] = std::max(sum[c], T(0)) + negative_slope * std::min(sum[c], T(0));
        }
      }
    }
  }

  static constexpr int64_t kAhead = 2 * kMicroRows;  // pairs between a prefetch and its use

  const SparseConvShape& shape_;
  const T* features_;
  const int32_t* neighbors_;
  const T* packed_weight_;
  int64_t panels_;
  int64_t spare_row_;
  AlignedBuffer<T> sums_;  // [tile_rows + 1, row_stride]
  AlignedBuffer<int32_t> rows_in_;
  AlignedBuffer<int32_t> rows_out_;
  MicroGemmFunction<T> multiply_add_ = fastest_micro_gemm<T>();
  bool in_range_ = true;
};

// Tiles that fill the cache, but at least four a thread where there are rows enough.
int64_t tile_rows_for(const SparseConvShape& shape) {
  const int64_t fitting = kTileElements / (panels_of(shape.c_out) * kPanelWidth);
  const int64_t sharing = shape.num_out / (4 * num_threads()) + 1;
  return std::max(kMinTileRows, std::min(fitting, sharing));
}

}  // namespace

template <typename T>
bool sparse_conv(const SparseConvShape& shape, const T* features, const T* weight,
                 const int32_t* neighbors, const SparseConvEpilogue<T>& epilogue, T* out) {
  if (shape.num_out == 0 || shape.c_out == 0) return true;
  AlignedBuffer<T> packed = pack_weight(shape, weight);
  const int64_t tile_rows = tile_rows_for(shape);
  const int64_t tiles = (shape.num_out + tile_rows - 1) / tile_rows;
  std::atomic<int64_t> next_tile{0};
  std::atomic<bool> in_range{true};
  // Which thread takes which tile is left to chance; what is written is not.
  parallel_for(0, std::min<int64_t>(num_threads(), tiles), 1, [&](int64_t, int64_t) {
    TileWorker<T> worker(shape, features, neighbors, packed.data(), tile_rows);
    for (int64_t tile = next_tile++; tile < tiles; tile = next_tile++) {
      const int64_t first = tile * tile_rows;
      worker.run(first, std::min(first + tile_rows, shape.num_out), epilogue, out);
    }
    if (!worker.in_range()) in_range = false;
  });
  return in_range;
}

template bool sparse_conv<float>(const SparseConvShape&, const float*, const float*, const int32_t*,
                                 const SparseConvEpilogue<float>&, float*);
template bool sparse_conv<double>(const SparseConvShape&, const double*, const double*,
                                  const int32_t*, const SparseConvEpilogue<double>&, double*);

}  // namespace elite_ops::cpu
