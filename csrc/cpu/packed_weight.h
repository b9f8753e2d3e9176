// Weight matrices in the order in which the inner loop reads them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "aligned_buffer.h"
#include "micro_gemm.h"
#include "parallel.h"

namespace elite_ops::cpu {

// [num_matrices, c_in, c_out] -> [num_matrices, panels, c_in, kPanelWidth], the last panel filled
// up with zeros. Of bfloat16 every two rows are interleaved, and c_in is even.
template <typename T>
class PackedWeight {
 public:
  PackedWeight(const T* weight, int64_t num_matrices, int64_t c_in, int64_t c_out)
      : c_in_(c_in),
        c_out_(c_out),
        panels_((c_out + kPanelWidth - 1) / kPanelWidth),
        data_(num_matrices * matrix_size()) {
    parallel_for(0, num_matrices, 1, [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k) pack(weight + k * c_in_ * c_out_, matrix(k));
    });
  }

  // Elements of a row of sums, as the inner loop writes it.
  int64_t row_stride() const { return panels_ * kPanelWidth; }

  // The product with matrix k; the rows are left to be filled in.
  MicroGemm<T> product(int64_t k) const {
    MicroGemm<T> gemm;
    gemm.b = matrix(k);
    gemm.a_step = 1;
    gemm.b_step = kStepWidth<T> * kPanelWidth;
    gemm.b_panel = c_in_ * kPanelWidth;
    gemm.depth = c_in_;
    gemm.panels = panels_;
    return gemm;
  }

 private:
  int64_t matrix_size() const { return panels_ * c_in_ * kPanelWidth; }
  T* matrix(int64_t k) const { return data_.data() + k * matrix_size(); }

  void pack(const T* from, T* to) const {
    for (int64_t column = 0; column < c_out_; column += kPanelWidth) {
      const int64_t width = std::min<int64_t>(kPanelWidth, c_out_ - column);
      for (int64_t c = 0; c < c_in_; ++c) {
        T* row = to + c / kStepWidth<T> * kStepWidth<T> * kPanelWidth + c % kStepWidth<T>;
        for (int64_t j = 0; j < kPanelWidth; ++j) {
          row[j * kStepWidth<T>] = j < width ? from[c * c_out_ + column + j] : T(0);
        }
      }
      to += c_in_ * kPanelWidth;
    }
  }

  int64_t c_in_;
  int64_t c_out_;
  int64_t panels_;
  AlignedBuffer<T> data_;
};

}  // namespace elite_ops::cpu
