// The weight gradient in two stages of fixed order: a sum for every split of the rows, then the sum
// over the splits. The splits depend on the sizes alone, hence so does the result.
#include <algorithm>
#include <atomic>

#include "aligned_buffer.h"
#include "collect_pairs.h"
#include "common/row_splits.h"
#include "micro_gemm.h"
#include "parallel.h"
#include "prefetch.h"
#include "sparse_conv.h"

namespace elite_ops::cpu {
namespace {

constexpr int64_t kSplitRows = 8192;
constexpr int64_t kMaxPartialElements = 16 * 1024 * 1024;  // of all partial sums together
constexpr int64_t kChunkPairs = 64;                        // pairs that are packed at a time

// One thread's working memory, and the sum of one offset over one split.
template <typename T>
class SplitWorker {
 public:
  SplitWorker(const SparseConvShape& shape, const T* features, const T* grad_out,
              const int32_t* neighbors, int64_t split_rows)
      : shape_(shape),
        features_(features),
        grad_out_(grad_out),
        neighbors_(neighbors),
        panels_((shape.c_out + kPanelWidth - 1) / kPanelWidth),
        rows_in_(split_rows + kPairSlack),
        rows_out_(split_rows + kPairSlack),
        chunk_in_(kChunkPairs * shape.c_in),
        chunk_out_(kChunkPairs * row_stride()),
        spare_row_(row_stride()) {}

  bool in_range() const { return in_range_; }
  int64_t row_stride() const { return panels_ * kPanelWidth; }

  // partial [c_in, row_stride]
  void run(int64_t k, int64_t first, int64_t last, T* partial) {
    std::fill_n(partial, shape_.c_in * row_stride(), T(0));
    const int64_t count = collect_pairs_({neighbors_ + k * shape_.num_out + first, last - first,
                                          shape_.num_in, rows_in_.data(), rows_out_.data()},
                                         in_range_);
    for (int64_t i = 0; i < count; i += kChunkPairs) {
      const int64_t pairs = std::min(kChunkPairs, count - i);
      pack(i, pairs, first, count);
      add_chunk(pairs, partial);
    }
  }

 private:
  void pack(int64_t from, int64_t pairs, int64_t first_row, int64_t count) {
    for (int64_t i = from; i < from + pairs; ++i) {
      if (i + kAhead < count) {
        prefetch_row(in_row(i + kAhead), shape_.c_in);
        prefetch_row(out_row(first_row, i + kAhead), shape_.c_out);
      }
      std::copy_n(in_row(i), shape_.c_in, chunk_in_.data() + (i - from) * shape_.c_in);
      T* to = chunk_out_.data() + (i - from) * row_stride();
      std::fill(std::copy_n(out_row(first_row, i), shape_.c_out, to), to + row_stride(), T(0));
    }
  }

  const T* in_row(int64_t pair) { return features_ + rows_in_[pair] * shape_.c_in; }
  const T* out_row(int64_t first_row, int64_t pair) {
    return grad_out_ + (first_row + rows_out_[pair]) * shape_.c_out;
  }

  void add_chunk(int64_t pairs, T* partial) {
    MicroGemm<T> gemm;
    gemm.b = chunk_out_.data();
    gemm.a_step = shape_.c_in;
    gemm.b_step = row_stride();
    gemm.b_panel = kPanelWidth;
    gemm.depth = pairs;
    gemm.panels = panels_;
    for (int64_t c = 0; c < shape_.c_in; c += kMicroRows) {
      for (int r = 0; r < kMicroRows; ++r) {
        const bool is_channel = c + r < shape_.c_in;
        gemm.a[r] = chunk_in_.data() + (is_channel ? c + r : c);
        gemm.c[r] = is_channel ? partial + (c + r) * row_stride() : spare_row_.data();
      }
      multiply_add_(gemm);
    }
  }

  static constexpr int64_t kAhead = 8;  // pairs between a prefetch and its use

  const SparseConvShape& shape_;
  const T* features_;
  const T* grad_out_;
  const int32_t* neighbors_;
  int64_t panels_;
  AlignedBuffer<int32_t> rows_in_;
  AlignedBuffer<int32_t> rows_out_;
  AlignedBuffer<T> chunk_in_;   // [pairs, c_in]
  AlignedBuffer<T> chunk_out_;  // [pairs, row_stride]
  AlignedBuffer<T> spare_row_;  // takes the sums of channels past the last
  CollectPairsFunction collect_pairs_ = collect_pairs_variants().front().function;
  MicroGemmFunction<T> multiply_add_ = fastest_micro_gemm<T>();
  bool in_range_ = true;
};

// partials [splits, K * c_in, row_stride] -> grad_weight [K * c_in, c_out]
template <typename T>
void sum_splits(T* partials, int64_t splits, int64_t rows, int64_t row_stride, int64_t c_out,
                T* grad_weight) {
  parallel_for(0, rows, 256, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      T* to = grad_weight + row * c_out;
      std::copy_n(partials + row * row_stride, c_out, to);
      for (int64_t s = 1; s < splits; ++s) {
        const T* from = partials + (s * rows + row) * row_stride;
        for (int64_t c = 0; c < c_out; ++c) to[c] += from[c];
      }
    }
  });
}

}  // namespace

template <typename T>
bool sparse_conv_backward_weight(const SparseConvShape& shape, const T* features, const T* grad_out,
                                 const int32_t* neighbors, T* grad_weight) {
  const int64_t rows = shape.num_offsets * shape.c_in;
  if (rows == 0 || shape.c_out == 0) return true;
  if (shape.num_out == 0) {
    std::fill_n(grad_weight, rows * shape.c_out, T(0));
    return true;
  }
  const int64_t row_stride = (shape.c_out + kPanelWidth - 1) / kPanelWidth * kPanelWidth;
  const auto [split_rows, splits] =
      row_splits(shape.num_out, kSplitRows, rows * row_stride, kMaxPartialElements);
  AlignedBuffer<T> partials(splits * rows * row_stride);
  const int64_t items = splits * shape.num_offsets;
  std::atomic<int64_t> next_item{0};
  std::atomic<bool> in_range{true};
  parallel_for(0, std::min<int64_t>(num_threads(), items), 1, [&](int64_t, int64_t) {
    SplitWorker<T> worker(shape, features, grad_out, neighbors, split_rows);
    for (int64_t item = next_item++; item < items; item = next_item++) {
      const int64_t first = item / shape.num_offsets * split_rows;
      worker.run(item % shape.num_offsets, first, std::min(first + split_rows, shape.num_out),
                 partials.data() + item * shape.c_in * row_stride);
    }
    if (!worker.in_range()) in_range = false;
  });
  sum_splits(partials.data(), splits, rows, row_stride, shape.c_out, grad_weight);
  return in_range;
}

template bool sparse_conv_backward_weight<float>(const SparseConvShape&, const float*, const float*,
                                                 const int32_t*, float*);
template bool sparse_conv_backward_weight<double>(const SparseConvShape&, const double*,
                                                  const double*, const int32_t*, double*);

}  // namespace elite_ops::cpu
