// A block of rows at a time: its sums stay in the first-level cache from the bias to the
// activation.
#include "linear_fused.h"

#include <algorithm>
#include <atomic>

#include "common/num_rows.h"
#include "packed_weight.h"
#include "prefetch.h"
#include "row_epilogue.h"

namespace elite_ops::cpu {
namespace {

constexpr int64_t kBlockRows = 4 * kMicroRows;
constexpr int64_t kGrainSize = 8 * kBlockRows;

// One thread's working memory and its way through a block.
template <typename T>
class BlockWorker {
 public:
  BlockWorker(const LinearShape& shape, const GatheredRows<T>& features,
              const PackedWeight<T>& weight, const T* bias,
              const std::vector<GatheredRows<T>>& residuals)
      : shape_(shape),
        features_(features),
        residuals_(residuals),
        product_(weight.product(0)),
        row_stride_(weight.row_stride()),
        sums_(kBlockRows * row_stride_),
        bias_(row_stride_),
        zero_row_(shape.c_in),
        unused_sums_(row_stride_) {
    std::fill_n(bias_.data(), row_stride_, sum_t<T>(0));
    if (bias) std::copy_n(bias, shape.c_out, bias_.data());
    std::fill_n(zero_row_.data(), shape.c_in, T(0));
    std::fill_n(unused_sums_.data(), row_stride_, sum_t<T>(0));
  }

  bool in_range() const { return in_range_; }

  void run(int64_t first, int64_t last, sum_t<T> negative_slope, T* out) {
    request_next(last, out);
    for (int64_t i = first; i < last; ++i) std::copy_n(bias_.data(), row_stride_, sum(i - first));
    for (const GatheredRows<T>& residual : residuals_) {
      for (int64_t i = first; i < last; ++i) {
        const T* row = find_row(residual, i, shape_.c_out);
        if (row) add_row(row, shape_.c_out, sum(i - first));
      }
    }
    for (int64_t i = first; i < last; i += kMicroRows) multiply_add(first, i, last);
    for (int64_t i = first; i < last; ++i) {
      write_leaky_relu(sum(i - first), shape_.c_out, negative_slope, out + i * shape_.c_out);
    }
  }

 private:
  sum_t<T>* sum(int64_t row) { return sums_.data() + row * row_stride_; }

  // Rows that don't exist are read as zeros, and their sums go where nobody reads them: with a
  // weight that is infinite they are NaN.
  void multiply_add(int64_t first_of_block, int64_t first, int64_t last) {
    for (int r = 0; r < kMicroRows; ++r) {
      const T* row = first + r < last ? find_row(features_, first + r, shape_.c_in) : nullptr;
      product_.a[r] = row ? row : zero_row_.data();
      product_.c[r] = row ? sum(first - first_of_block + r) : unused_sums_.data();
    }
    multiply_add_(product_);
  }

  // Null where there is nothing to add.
  const T* find_row(const GatheredRows<T>& from, int64_t i, int64_t channels) {
    if (!from.rows) return from.data + i * channels;
    const int64_t row = from.rows[i];
    if (row >= 0 && row < from.num_rows) return from.data + row * channels;
    in_range_ &= row == -1;
    return nullptr;
  }

  // Requests what the block after this one reads and writes.
  void request_next(int64_t first, const T* out) {
    const int64_t last = std::min(first + kBlockRows, shape_.num_out);
    for (int64_t i = first; i < last; ++i) {
      request(features_, i, shape_.c_in);
      for (const GatheredRows<T>& residual : residuals_) request(residual, i, shape_.c_out);
      prefetch_row(out + i * shape_.c_out, shape_.c_out);
    }
  }

  void request(const GatheredRows<T>& from, int64_t i, int64_t channels) {
    const int64_t row = from.rows ? from.rows[i] : i;
    if (row >= 0 && row < from.num_rows) prefetch_row(from.data + row * channels, channels);
  }

  const LinearShape& shape_;
  const GatheredRows<T>& features_;
  const std::vector<GatheredRows<T>>& residuals_;
  MicroGemm<T> product_;
  int64_t row_stride_;
  AlignedBuffer<sum_t<T>> sums_;  // [kBlockRows, row_stride]
  AlignedBuffer<sum_t<T>> bias_;  // [row_stride]
  AlignedBuffer<T> zero_row_;
  AlignedBuffer<sum_t<T>> unused_sums_;  // [row_stride]
  MicroGemmFunction<T> multiply_add_ = fastest_micro_gemm<T>();
  bool in_range_ = true;
};

}  // namespace

template <typename T>
bool linear_fused(const LinearShape& buffer, const GatheredRows<T>& features, const T* weight,
                  const T* bias, const std::vector<GatheredRows<T>>& residuals,
                  sum_t<T> negative_slope, const int64_t* num_rows, T* out) {
  const LinearShape shape{valid_rows(num_rows, buffer.num_out), buffer.c_in, buffer.c_out};
  if (shape.num_out == 0 || shape.c_out == 0) return true;
  const PackedWeight<T> packed(weight, 1, shape.c_in, shape.c_out);
  std::atomic<bool> in_range{true};
  parallel_for(0, shape.num_out, kGrainSize, [&](int64_t begin, int64_t end) {
    BlockWorker<T> worker(shape, features, packed, bias, residuals);
    for (int64_t first = begin; first < end; first += kBlockRows) {
      worker.run(first, std::min(first + kBlockRows, end), negative_slope, out);
    }
    if (!worker.in_range()) in_range = false;
  });
  return in_range;
}

template bool linear_fused<float>(const LinearShape&, const GatheredRows<float>&, const float*,
                                  const float*, const std::vector<GatheredRows<float>>&, float,
                                  const int64_t*, float*);
template bool linear_fused<double>(const LinearShape&, const GatheredRows<double>&, const double*,
                                   const double*, const std::vector<GatheredRows<double>>&, double,
                                   const int64_t*, double*);
template bool linear_fused<BFloat16>(const LinearShape&, const GatheredRows<BFloat16>&,
                                     const BFloat16*, const BFloat16*,
                                     const std::vector<GatheredRows<BFloat16>>&, float,
                                     const int64_t*, BFloat16*);

}  // namespace elite_ops::cpu
