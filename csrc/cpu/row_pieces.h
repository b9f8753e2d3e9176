// Rows of a CSR list that are too long for one thread, in pieces.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "csr_rows.h"

namespace elite_ops::cpu {

// Longer rows are cut after every so many entries: at places that don't depend on the threads.
constexpr int32_t kPieceEntries = 1024;

struct RowPiece {
  int64_t row;
  int32_t begin, end;  // entries
};

// The pieces of the long rows among [0, rows), in order.
class RowPieces {
 public:
  RowPieces(const int32_t* offsets, int64_t rows) : work_{offsets, rows} {
    for (int64_t v = 0; v < rows; ++v) {
      const int32_t end = offsets[v + 1];
      if (end - offsets[v] <= kPieceEntries) continue;
      for (int32_t begin = offsets[v]; begin < end; begin += kPieceEntries) {
        pieces_.push_back({v, begin, std::min(begin + kPieceEntries, end)});
      }
    }
  }

  int64_t size() const { return static_cast<int64_t>(pieces_.size()); }
  const RowPiece& operator[](int64_t p) const { return pieces_[p]; }

  // Calls `of_rows(begin, end)` on ranges of the other rows, and `of_pieces(begin, end)` on ranges
  // of pieces, possibly at the same time.
  template <typename OfRows, typename OfPieces>
  void parallel_for(int64_t channels, const OfRows& of_rows, const OfPieces& of_pieces) const {
    work_.share_out(channels, [&](int64_t begin, int64_t end) {
      of_pieces(first_from(begin), first_from(end));
      int64_t row = work_.first_row_from(begin);
      const int64_t last = work_.first_row_from(end);
      for (int64_t p = first_of(row); p < size() && pieces_[p].row < last;) {
        of_rows(row, pieces_[p].row);
        row = pieces_[p].row + 1;
        p = first_of(row);
      }
      of_rows(row, last);
    });
  }

  // Calls `body(begin, end)` with the pieces of each long row.
  template <typename Body>
  void for_each_row(const Body& body) const {
    for (int64_t begin = 0, end; begin < size(); begin = end) {
      end = first_of(pieces_[begin].row + 1);
      body(begin, end);
    }
  }

 private:
  // The first piece that begins at a position of the work or later, and that of a row or later.
  int64_t first_from(int64_t position) const {
    return first_where([&](const RowPiece& p) { return p.begin + p.row < position; });
  }
  int64_t first_of(int64_t row) const {
    return first_where([&](const RowPiece& p) { return p.row < row; });
  }
  template <typename Before>
  int64_t first_where(const Before& before) const {
    return std::partition_point(pieces_.begin(), pieces_.end(), before) - pieces_.begin();
  }

  CsrWork work_;
  std::vector<RowPiece> pieces_;
};

}  // namespace elite_ops::cpu
