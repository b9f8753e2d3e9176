// The cells of one slab of a grid (all that share batch and x), each once and in order.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <memory>
#include <vector>

#include "common/voxel_grid.h"

namespace elite_ops::cpu {

// 64 cells along z, some of them marked. The cells of a slab are named y * words_per_column * 64
// + z.
struct CellWord {
  int64_t first_cell;
  uint64_t bits;

  template <typename Body>
  void for_each_cell(const Body& body) const {
    for (uint64_t left = bits; left != 0; left &= left - 1) {
      body(first_cell + std::countr_zero(left));
    }
  }
};

// Marks cells, then numbers them; one slab after the other.
class SlabCells {
 public:
  explicit SlabCells(const VoxelGrid& grid) {
    const int64_t num_words = grid.shape[1] * grid.words_per_column();
    if (num_words > kMaxWords) return;
    bitmap_.resize(num_words);
    numbers_ = std::make_unique_for_overwrite<int32_t[]>(num_words * 64);
  }

  // Marks the cells word * 64 + the place of each bit.
  void mark(int64_t word, uint64_t bits) {
    if (bitmap_.empty()) {
      marked_.push_back({word * 64, bits});
      return;
    }
    bitmap_[word] |= bits;
  }

  // Writes the words with a marked cell, in order, and forgets the marks, all of which must be in
  // the words from `begin` to `end`. Returns the end of what it wrote.
  CellWord* take(int64_t begin, int64_t end, CellWord* to) {
    if (bitmap_.empty()) return take_sorted(to);
    for (int64_t word = begin; word < end; ++word) {
      if (bitmap_[word] == 0) continue;
      *to++ = {word * 64, bitmap_[word]};
      bitmap_[word] = 0;
    }
    return to;
  }

  // Gets ready for the numbers of the cells in the words from `begin` to `end`.
  void enumerate(const CellWord* begin, const CellWord* end) {
    int32_t number = 0;
    cells_.clear();
    for (const CellWord* word = begin; word < end; ++word) {
      word->for_each_cell([&](int64_t cell) {
        if (bitmap_.empty()) {
          cells_.push_back(cell);
        } else {
          numbers_[cell] = number++;
        }
      });
    }
  }

  // Calls body(number), where number(cell) is which of the enumerated cells that is.
  template <typename Body>
  void with_numbers(const Body& body) const {
    if (bitmap_.empty()) {
      body([this](int64_t cell) {
        return std::lower_bound(cells_.begin(), cells_.end(), cell) - cells_.begin();
      });
    } else {
      body([numbers = numbers_.get()](int64_t cell) { return numbers[cell]; });
    }
  }

 private:
  CellWord* take_sorted(CellWord* to) {
    std::sort(marked_.begin(), marked_.end(),
              [](const CellWord& a, const CellWord& b) { return a.first_cell < b.first_cell; });
    for (size_t i = 0; i < marked_.size(); ++i) {
      if (i > 0 && marked_[i].first_cell == marked_[i - 1].first_cell) {
        to[-1].bits |= marked_[i].bits;
      } else {
        *to++ = marked_[i];
      }
    }
    marked_.clear();
    return to;
  }

  // The bitmap of a slab stays in the first-level cache; the marks of larger ones are sorted.
  static constexpr int64_t kMaxWords = 1 << 13;
  std::vector<uint64_t> bitmap_;
  std::unique_ptr<int32_t[]> numbers_;  // of the bitmap's cells
  std::vector<CellWord> marked_;        // without a bitmap
  std::vector<int64_t> cells_;          // likewise, enumerated
};

}  // namespace elite_ops::cpu
