// One slab of outputs (all that share batch and x) at a time: the slabs of inputs that meet it mark
// their cells in a bitmap of y and z, which stays in the first-level cache, and whose order is that
// of the outputs.
#include "output_voxels.h"

#include <algorithm>
#include <bit>
#include <numeric>
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

// An output slab, and one of the input slabs that meet it.
struct SlabPair {
  int64_t output;  // batch * outputs along x + x
  const Slab* input;
};

std::vector<SlabPair> slab_pairs(const std::vector<Slab>& slabs, const KernelGeometry& kernel,
                                 bool transposed, const VoxelGrid& outputs) {
  std::vector<SlabPair> pairs;
  for (const Slab& slab : slabs) {
    for_each_output(kernel, 0, transposed, slab.x, outputs.shape[0], [&](int32_t x) {
      pairs.push_back({int64_t{slab.batch} * outputs.shape[0] + x, &slab});
    });
  }
  std::stable_sort(pairs.begin(), pairs.end(),
                   [](const SlabPair& a, const SlabPair& b) { return a.output < b.output; });
  return pairs;
}

// The cells of one output slab, as y * words_per_column * 64 + z, each once and in order.
class SlabCells {
 public:
  explicit SlabCells(const VoxelGrid& grid)
      : num_words_(grid.shape[1] * grid.words_per_column()),
        words_(num_words_ <= kMaxWords ? num_words_ : 0) {}

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

 private:
  static constexpr int64_t kMaxWords = int64_t{1} << 16;  // larger slabs are sorted
  int64_t num_words_;
  std::vector<uint64_t> words_;
  std::vector<int64_t> cells_;
};

}  // namespace

void output_voxels(const VoxelSet& voxels, const VoxelIndex& index, const KernelGeometry& kernel,
                   bool transposed, const VoxelGrid& outputs,
                   const std::function<int32_t*(int64_t)>& allocate) {
  const std::vector<Slab> slabs = slabs_of(voxels, index);
  const std::vector<SlabPair> pairs = slab_pairs(slabs, kernel, transposed, outputs);
  std::vector<int64_t> first_pair;  // of each output slab
  for (size_t p = 0; p < pairs.size(); ++p) {
    if (p == 0 || pairs[p].output != pairs[p - 1].output) {
      first_pair.push_back(static_cast<int64_t>(p));
    }
  }
  const auto num_slabs = static_cast<int64_t>(first_pair.size());
  first_pair.push_back(static_cast<int64_t>(pairs.size()));

  const int64_t bits_per_column = outputs.words_per_column() * 64;
  std::vector<std::vector<int64_t>> cells(num_slabs);
  parallel_for(0, num_slabs, 4, [&](int64_t begin, int64_t end) {
    SlabCells marked(outputs);
    for (int64_t s = begin; s < end; ++s) {
      for (int64_t p = first_pair[s]; p < first_pair[s + 1]; ++p) {
        const Slab& slab = *pairs[p].input;
        for (int64_t i = slab.begin; i < slab.end; ++i) {
          const int32_t* voxel = voxels.indices + index.row(i) * 4;
          for_each_output(kernel, 1, transposed, voxel[2], outputs.shape[1], [&](int32_t y) {
            for_each_output(kernel, 2, transposed, voxel[3], outputs.shape[2],
                            [&](int32_t z) { marked.mark(y * bits_per_column + z); });
          });
        }
      }
      marked.take(cells[s]);
    }
  });

  std::vector<int64_t> first_row(num_slabs + 1, 0);
  for (int64_t s = 0; s < num_slabs; ++s) {
    first_row[s + 1] = first_row[s] + static_cast<int64_t>(cells[s].size());
  }
  int32_t* indices = allocate(first_row[num_slabs]);
  parallel_for(0, num_slabs, 16, [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      const int64_t slab = pairs[first_pair[s]].output;
      int32_t* to = indices + first_row[s] * 4;
      for (const int64_t cell : cells[s]) {
        *to++ = static_cast<int32_t>(slab / outputs.shape[0]);
        *to++ = static_cast<int32_t>(slab % outputs.shape[0]);
        *to++ = static_cast<int32_t>(cell / bits_per_column);
        *to++ = static_cast<int32_t>(cell % bits_per_column);
      }
    }
  });
}

}  // namespace elite_ops::cpu
