// One slab of outputs (all that share batch and x) at a time: the slabs of inputs that meet it mark
// their cells in a bitmap of y and z, which stays in the first-level cache, and whose order is that
// of the outputs.
#include "output_voxels.h"

#include <algorithm>
#include <bit>
#include <vector>

#include "parallel.h"

namespace elite_ops::cpu {
namespace {

// The voxels of one batch and x, by their places in the index.
struct Slab {
  int32_t batch, x;
  int64_t begin, end;
};

std::vector<Slab> slabs_of(const VoxelSet& voxels, const VoxelIndex& index) {
  std::vector<Slab> slabs;
  for (int64_t i = 0; i < index.size(); ++i) {
    const int32_t* voxel = voxels.indices + index.row(i) * 4;
    if (slabs.empty() || slabs.back().batch != voxel[0] || slabs.back().x != voxel[1]) {
      slabs.push_back({voxel[0], voxel[1], i, i});
    }
    slabs.back().end = i + 1;
  }
  return slabs;
}

// An output slab, one of the input slabs that meet it, and the offset along x under which they do.
struct SlabPair {
  int64_t output;  // batch * outputs along x + x
  const Slab* input;
  int32_t offset;
};

// The cells of one output slab, numbered y * words_per_column * 64 + z, each once and in order.
class SlabCells {
 public:
  explicit SlabCells(const VoxelGrid& grid)
      : words_(std::min<int64_t>(grid.shape[1] * grid.words_per_column(), kMaxWords + 1)),
        is_sorted_(words_.size() > kMaxWords) {}

  void mark(int64_t cell) {
    if (is_sorted_) {
      cells_.push_back(cell);
    } else {
      words_[cell / 64] |= uint64_t{1} << cell % 64;
    }
  }

  // Appends the marked cells to `found`, and forgets them.
  void take(std::vector<int64_t>& found) {
    std::sort(cells_.begin(), cells_.end());
    found.insert(found.end(), cells_.begin(), std::unique(cells_.begin(), cells_.end()));
    cells_.clear();
    for (size_t w = 0; w < words_.size(); ++w) {
      for (uint64_t& word = words_[w]; word != 0; word &= word - 1) {
        found.push_back(static_cast<int64_t>(w) * 64 + std::countr_zero(word));
      }
    }
  }

  // Gets ready for `number` on the cells of a slab.
  void rank(const std::vector<int64_t>& cells) {
    numbered_ = &cells;
    if (is_sorted_) return;
    std::fill(words_.begin(), words_.end(), 0);
    for (const int64_t cell : cells) mark(cell);
    ranks_.resize(words_.size());
    int32_t rank = 0;
    for (size_t w = 0; w < words_.size(); ++w) {
      ranks_[w] = rank;
      rank += std::popcount(words_[w]);
    }
  }

  // Which of the slab's cells this is.
  int64_t number(int64_t cell) const {
    if (is_sorted_) {
      return std::lower_bound(numbered_->begin(), numbered_->end(), cell) - numbered_->begin();
    }
    const uint64_t below = (uint64_t{1} << cell % 64) - 1;
    return ranks_[cell / 64] + std::popcount(words_[cell / 64] & below);
  }

 private:
  static constexpr size_t kMaxWords = size_t{1} << 16;  // larger slabs are sorted
  std::vector<uint64_t> words_;
  std::vector<int32_t> ranks_;
  std::vector<int64_t> cells_;
  const std::vector<int64_t>* numbered_ = nullptr;
  bool is_sorted_;
};

class Builder {
 public:
  Builder(const VoxelSet& voxels, const VoxelIndex& index, const KernelGeometry& kernel,
          bool transposed, const VoxelGrid& outputs)
      : voxels_(voxels),
        index_(index),
        kernel_(kernel),
        transposed_(transposed),
        outputs_(outputs),
        bits_per_column_(outputs.words_per_column() * 64),
        slabs_(slabs_of(voxels, index)) {
    for (const Slab& slab : slabs_) {
      for_each_output(kernel, 0, transposed, slab.x, outputs.shape[0], [&](int32_t x, int32_t i) {
        pairs_.push_back({int64_t{slab.batch} * outputs.shape[0] + x, &slab, i});
      });
    }
    std::stable_sort(pairs_.begin(), pairs_.end(),
                     [](const SlabPair& a, const SlabPair& b) { return a.output < b.output; });
    for (size_t p = 0; p < pairs_.size(); ++p) {
      if (p == 0 || pairs_[p].output != pairs_[p - 1].output) {
        first_pair_.push_back(static_cast<int64_t>(p));
      }
    }
    first_pair_.push_back(static_cast<int64_t>(pairs_.size()));
  }

  // Finds the cells; returns how many there are.
  int64_t find() {
    cells_.resize(num_slabs());
    for_slabs([&](SlabCells& marked, int64_t s) {
      for_each_cell(s, [&](int64_t cell, int64_t, int64_t) { marked.mark(cell); });
      marked.take(cells_[s]);
    });
    first_row_.assign(1, 0);
    for (const auto& cells : cells_) {
      first_row_.push_back(first_row_.back() + static_cast<int64_t>(cells.size()));
    }
    return first_row_.back();
  }

  void write_indices(int32_t* indices) const {
    for_slabs([&](SlabCells&, int64_t s) {
      const int64_t slab = pairs_[first_pair_[s]].output;
      int32_t* to = indices + first_row_[s] * 4;
      for (const int64_t cell : cells_[s]) {
        *to++ = static_cast<int32_t>(slab / outputs_.shape[0]);
        *to++ = static_cast<int32_t>(slab % outputs_.shape[0]);
        *to++ = static_cast<int32_t>(cell / bits_per_column_);
        *to++ = static_cast<int32_t>(cell % bits_per_column_);
      }
    });
  }

  void write_in_rows(int32_t* in_rows) const {
    const int64_t num_outputs = first_row_.back();
    parallel_for(0, kernel_.num_offsets(), 1, [&](int64_t begin, int64_t end) {
      std::fill(in_rows + begin * num_outputs, in_rows + end * num_outputs, -1);
    });
    for_slabs([&](SlabCells& marked, int64_t s) {
      marked.rank(cells_[s]);
      int32_t* rows = in_rows + first_row_[s];
      for_each_cell(s, [&](int64_t cell, int64_t k, int64_t row) {
        rows[k * num_outputs + marked.number(cell)] = static_cast<int32_t>(row);
      });
    });
  }

 private:
  int64_t num_slabs() const { return static_cast<int64_t>(first_pair_.size()) - 1; }

  template <typename Body>
  void for_slabs(const Body& body) const {
    parallel_for(0, num_slabs(), 16, [&](int64_t begin, int64_t end) {
      SlabCells marked(outputs_);
      for (int64_t s = begin; s < end; ++s) body(marked, s);
    });
  }

  // Calls body(cell, k, row) for each pair of a cell of the slab and the voxel that meets it.
  template <typename Body>
  void for_each_cell(int64_t s, const Body& body) const {
    for (int64_t p = first_pair_[s]; p < first_pair_[s + 1]; ++p) {
      const SlabPair& pair = pairs_[p];
      for (int64_t i = pair.input->begin; i < pair.input->end; ++i) {
        const int64_t row = index_.row(i);
        const int32_t* voxel = voxels_.indices + row * 4;
        for_each_output(
            kernel_, 1, transposed_, voxel[2], outputs_.shape[1], [&](int32_t y, int32_t i_y) {
              const int64_t column = y * bits_per_column_;
              const int64_t k = (int64_t{pair.offset} * kernel_.size[1] + i_y) * kernel_.size[2];
              for_each_output(kernel_, 2, transposed_, voxel[3], outputs_.shape[2],
                              [&](int32_t z, int32_t i_z) { body(column + z, k + i_z, row); });
            });
      }
    }
  }

  const VoxelSet& voxels_;
  const VoxelIndex& index_;
  const KernelGeometry& kernel_;
  const bool transposed_;
  const VoxelGrid& outputs_;
  const int64_t bits_per_column_;
  std::vector<Slab> slabs_;
  std::vector<SlabPair> pairs_;              // by output slab
  std::vector<int64_t> first_pair_;          // of each output slab
  std::vector<std::vector<int64_t>> cells_;  // of each output slab
  std::vector<int64_t> first_row_;           // of each output slab
};

}  // namespace

void output_voxels(const VoxelSet& voxels, const VoxelIndex& index, const KernelGeometry& kernel,
                   bool transposed, const VoxelGrid& outputs,
                   const std::function<OutputVoxels(int64_t)>& allocate) {
  Builder builder(voxels, index, kernel, transposed, outputs);
  const OutputVoxels found = allocate(builder.find());
  builder.write_indices(found.indices);
  if (found.in_rows != nullptr) builder.write_in_rows(found.in_rows);
}

}  // namespace elite_ops::cpu
