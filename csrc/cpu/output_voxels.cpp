// One slab of outputs (all that share batch and x) at a time: the slabs of inputs that meet it mark
// their cells in a bitmap of y and z, which stays in the first-level cache, and whose order is that
// of the outputs.
#include "output_voxels.h"

#include <algorithm>
#include <bit>
#include <memory>
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

// What each input cell along an axis meets, looked up instead of divided.
class AxisReach {
 public:
  AxisReach(const KernelGeometry& kernel, int axis, bool transposed, const VoxelGrid& inputs,
            const VoxelGrid& outputs)
      : kernel_(kernel), axis_(axis), transposed_(transposed), num_outputs_(outputs.shape[axis]) {
    if (inputs.shape[axis] > kMaxCells) return;
    begin_.push_back(0);
    for (int32_t input = 0; input < inputs.shape[axis]; ++input) {
      for_each_output(kernel, axis, transposed, input, num_outputs_,
                      [&](int32_t output, int32_t i) { met_.push_back({output, i}); });
      begin_.push_back(static_cast<int32_t>(met_.size()));
    }
  }

  // Calls body(output, offset).
  template <typename Body>
  void for_each(int32_t input, const Body& body) const {
    if (begin_.empty()) {
      for_each_output(kernel_, axis_, transposed_, input, num_outputs_, body);
      return;
    }
    for (int32_t m = begin_[input]; m < begin_[input + 1]; ++m)
      body(met_[m].output, met_[m].offset);
  }

 private:
  struct Met {
    int32_t output, offset;
  };

  static constexpr int32_t kMaxCells = 1 << 16;
  const KernelGeometry& kernel_;
  const int axis_;
  const bool transposed_;
  const int32_t num_outputs_;
  std::vector<int32_t> begin_;  // of each input cell; empty where there are too many
  std::vector<Met> met_;
};

std::vector<SlabPair> slab_pairs(const std::vector<Slab>& slabs, const KernelGeometry& kernel,
                                 bool transposed, const VoxelGrid& outputs) {
  std::vector<SlabPair> pairs;
  for (const Slab& slab : slabs) {
    for_each_output(kernel, 0, transposed, slab.x, outputs.shape[0], [&](int32_t x, int32_t i) {
      pairs.push_back({int64_t{slab.batch} * outputs.shape[0] + x, &slab, i});
    });
  }
  std::stable_sort(pairs.begin(), pairs.end(),
                   [](const SlabPair& a, const SlabPair& b) { return a.output < b.output; });
  return pairs;
}

// The cells of one output slab, named y * words_per_column * 64 + z, each once and in order.
class SlabCells {
 public:
  explicit SlabCells(const VoxelGrid& grid) {
    const int64_t num_words = grid.shape[1] * grid.words_per_column();
    if (num_words > kMaxWords) return;
    words_.resize(num_words);
    numbers_ = std::make_unique_for_overwrite<int32_t[]>(num_words * 64);
  }

  void mark(int64_t cell) {
    if (words_.empty()) {
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
  void enumerate(const std::vector<int64_t>& cells) {
    enumerated_ = &cells;
    if (words_.empty()) return;
    for (size_t i = 0; i < cells.size(); ++i) numbers_[cells[i]] = static_cast<int32_t>(i);
  }

  // Which of the slab's cells this is.
  int64_t number(int64_t cell) const {
    if (!words_.empty()) return numbers_[cell];
    return std::lower_bound(enumerated_->begin(), enumerated_->end(), cell) - enumerated_->begin();
  }

 private:
  static constexpr int64_t kMaxWords = 1 << 13;  // larger slabs are sorted
  std::vector<uint64_t> words_;
  std::unique_ptr<int32_t[]> numbers_;
  std::vector<int64_t> cells_;
  const std::vector<int64_t>* enumerated_ = nullptr;
};

class Builder {
 public:
  Builder(const VoxelSet& voxels, const VoxelIndex& index, const KernelGeometry& kernel,
          bool transposed, const VoxelGrid& outputs)
      : voxels_(voxels),
        index_(index),
        kernel_(kernel),
        outputs_(outputs),
        along_y_(kernel, 1, transposed, voxels.grid, outputs),
        along_z_(kernel, 2, transposed, voxels.grid, outputs),
        bits_per_column_(outputs.words_per_column() * 64),
        slabs_(slabs_of(voxels, index)),
        pairs_(slab_pairs(slabs_, kernel, transposed, outputs)) {
    for (size_t p = 0; p < pairs_.size(); ++p) {
      if (p == 0 || pairs_[p].output != pairs_[p - 1].output) {
        first_pair_.push_back(static_cast<int64_t>(p));
      }
    }
    first_pair_.push_back(static_cast<int64_t>(pairs_.size()));
    slab_results_.resize(first_pair_.size() - 1);
  }

  // Finds the cells; returns how many there are.
  int64_t find() {
    for_slabs([&](SlabCells& marked, int64_t s) {
      for_each_meeting(s, [&](int64_t cell, int64_t, int64_t) { marked.mark(cell); });
      marked.take(slab_results_[s].cells);
    });
    int64_t num_outputs = 0;
    for (SlabResult& result : slab_results_) {
      result.first_row = num_outputs;
      num_outputs += static_cast<int64_t>(result.cells.size());
    }
    return num_outputs;
  }

  void write_indices(int32_t* indices) const {
    for_slabs([&](SlabCells&, int64_t s) {
      const int64_t slab = pairs_[first_pair_[s]].output;
      const auto batch = static_cast<int32_t>(slab / outputs_.shape[0]);
      const auto x = static_cast<int32_t>(slab % outputs_.shape[0]);
      int32_t* to = indices + slab_results_[s].first_row * 4;
      int64_t y = 0, column = 0;  // and its first cell; most cells are in the column of the last
      for (const int64_t cell : slab_results_[s].cells) {
        if (cell >= column + bits_per_column_) {
          y = cell / bits_per_column_;
          column = y * bits_per_column_;
        }
        *to++ = batch;
        *to++ = x;
        *to++ = static_cast<int32_t>(y);
        *to++ = static_cast<int32_t>(cell - column);
      }
    });
  }

  void write_in_rows(int64_t num_outputs, int32_t* in_rows) const {
    for_slabs([&](SlabCells& marked, int64_t s) {
      const SlabResult& result = slab_results_[s];
      int32_t* rows = in_rows + result.first_row;
      for (int64_t k = 0; k < kernel_.num_offsets(); ++k) {
        std::fill_n(rows + k * num_outputs, result.cells.size(), -1);
      }
      marked.enumerate(result.cells);
      for_each_meeting(s, [&](int64_t cell, int64_t k, int64_t row) {
        rows[k * num_outputs + marked.number(cell)] = static_cast<int32_t>(row);
      });
    });
  }

 private:
  struct SlabResult {
    std::vector<int64_t> cells;
    int64_t first_row;
  };

  template <typename Body>
  void for_slabs(const Body& body) const {
    const auto num_slabs = static_cast<int64_t>(slab_results_.size());
    parallel_for(0, num_slabs, 16, [&](int64_t begin, int64_t end) {
      SlabCells marked(outputs_);
      for (int64_t s = begin; s < end; ++s) body(marked, s);
    });
  }

  // Calls body(cell, k, row) for each cell of the slab, the row of a voxel that meets it, and the
  // offset under which it does. Doing so twice takes no longer than keeping a list.
  template <typename Body>
  void for_each_meeting(int64_t s, const Body& body) const {
    for (int64_t p = first_pair_[s]; p < first_pair_[s + 1]; ++p) {
      const SlabPair& pair = pairs_[p];
      for (int64_t i = pair.input->begin; i < pair.input->end; ++i) {
        const int64_t row = index_.row(i);
        const int32_t* voxel = voxels_.indices + row * 4;
        along_y_.for_each(voxel[2], [&](int32_t y, int32_t i_y) {
          const int64_t column = y * bits_per_column_;
          const int32_t k = (pair.offset * kernel_.size[1] + i_y) * kernel_.size[2];
          along_z_.for_each(voxel[3],
                            [&](int32_t z, int32_t i_z) { body(column + z, k + i_z, row); });
        });
      }
    }
  }

  const VoxelSet& voxels_;
  const VoxelIndex& index_;
  const KernelGeometry& kernel_;
  const VoxelGrid& outputs_;
  const AxisReach along_y_, along_z_;
  const int64_t bits_per_column_;
  const std::vector<Slab> slabs_;
  const std::vector<SlabPair> pairs_;  // by output slab
  std::vector<int64_t> first_pair_;    // of each output slab
  std::vector<SlabResult> slab_results_;
};

}  // namespace

void output_voxels(const VoxelSet& voxels, const VoxelIndex& index, const KernelGeometry& kernel,
                   bool transposed, const VoxelGrid& outputs,
                   const std::function<OutputVoxels(int64_t)>& allocate) {
  Builder builder(voxels, index, kernel, transposed, outputs);
  const int64_t num_outputs = builder.find();
  const OutputVoxels found = allocate(num_outputs);
  builder.write_indices(found.indices);
  if (found.in_rows != nullptr) builder.write_in_rows(num_outputs, found.in_rows);
}

}  // namespace elite_ops::cpu
