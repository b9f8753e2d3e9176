// One slab of outputs (all that share batch and x) at a time: the slabs of inputs that meet it mark
// their cells, whose order is that of the outputs.
#include "output_voxels.h"

#include <algorithm>
#include <bit>
#include <vector>

#include "aligned_buffer.h"
#include "axis_reach.h"
#include "parallel.h"
#include "slab_cells.h"

namespace elite_ops::cpu {
namespace {

// What the voxels of a column (one x and y) meet along z: word * 64 and the place of each bit.
struct Strip {
  int32_t y, word;
  uint64_t bits;
};

// The voxels of one batch and x, by their places in the index, and their strips.
struct Slab {
  int32_t batch, x;
  int64_t begin, end;
  int64_t first_strip, last_strip;
};

struct Slabs {
  std::vector<Slab> slabs;
  AlignedBuffer<Strip> strips;

  Slabs(const VoxelSet& voxels, const VoxelIndex& index, const AxisReach& along_z)
      : strips(index.size() * along_z.width()) {
    std::vector<AxisMeeting> room(along_z.width());
    int64_t num_strips = 0;
    Strip strip{-1, -1, 0};
    for (int64_t i = 0; i < index.size(); ++i) {
      const int32_t* voxel = voxels.indices + index.row(i) * 4;
      if (slabs.empty() || slabs.back().batch != voxel[0] || slabs.back().x != voxel[1]) {
        slabs.push_back({voxel[0], voxel[1], i, i, num_strips, num_strips});
        strip.y = -1;
      }
      slabs.back().end = i + 1;
      const AxisMeeting* met = along_z.of(voxel[3], room.data());
      if (met == nullptr) continue;
      for (int64_t b = 0; b < along_z.width(); ++b) {
        const int32_t word = met[b].output >> 6;
        const bool is_new = strip.y != voxel[2] || strip.word != word;
        num_strips += is_new;
        const uint64_t bit = uint64_t{1} << (met[b].output & 63);
        strip = {voxel[2], word, (is_new ? 0 : strip.bits) | bit};
        strips[num_strips - 1] = strip;
      }
      slabs.back().last_strip = num_strips;
    }
  }
};

// An output slab, one of the input slabs that meet it, and the offset along x under which they do.
struct SlabPair {
  int64_t output;  // batch * outputs along x + x
  const Slab* input;
  int32_t offset;
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

// An output slab: the pairs that make it, its cells, and its rows.
struct OutputSlab {
  int64_t first_pair, last_pair;
  CellWord *words, *words_end;  // from `words` on is room for all that its pairs can meet
  int64_t first_row, num_rows;
};

class Builder {
 public:
  Builder(const VoxelSet& voxels, const VoxelIndex& index, const KernelGeometry& kernel,
          bool transposed, const VoxelGrid& outputs)
      : voxels_(voxels),
        index_(index),
        kernel_(kernel),
        outputs_(outputs),
        along_y_(kernel, 1, transposed, voxels.grid.shape[1], outputs.shape[1]),
        along_z_(kernel, 2, transposed, voxels.grid.shape[2], outputs.shape[2]),
        inputs_(voxels, index, along_z_),
        pairs_(slab_pairs(inputs_.slabs, kernel, transposed, outputs)),
        words_(num_meetings(0, pairs_.size())) {
    CellWord* words = words_.data();
    for (size_t p = 0; p < pairs_.size();) {
      const size_t first = p;
      while (p < pairs_.size() && pairs_[p].output == pairs_[first].output) ++p;
      slabs_.push_back({static_cast<int64_t>(first), static_cast<int64_t>(p), words, words, 0, 0});
      words += num_meetings(first, p);
    }
  }

  // Returns how many outputs there are.
  int64_t find() {
    for_slabs([&](SlabCells& cells, OutputSlab& slab) {
      slab.words_end = find_words(cells, slab);
      for (const CellWord* word = slab.words; word < slab.words_end; ++word) {
        slab.num_rows += std::popcount(word->bits);
      }
    });
    for (OutputSlab& slab : slabs_) {
      slab.first_row = num_outputs_;
      num_outputs_ += slab.num_rows;
    }
    return num_outputs_;
  }

  // After find().
  void write(const OutputVoxels& to) {
    for_slabs([&](SlabCells& cells, const OutputSlab& slab) {
      write_indices(slab, to.indices);
      if (to.in_rows == nullptr) return;
      cells.enumerate(slab.words, slab.words_end);
      cells.with_numbers([&](auto number) { write_in_rows(number, slab, to.in_rows); });
    });
  }

 private:
  template <typename Body>
  void for_slabs(const Body& body) {
    parallel_for(0, static_cast<int64_t>(slabs_.size()), 16, [&](int64_t begin, int64_t end) {
      SlabCells cells(outputs_);
      for (int64_t s = begin; s < end; ++s) body(cells, slabs_[s]);
    });
  }

  // Of strips with columns of outputs, in pairs from `first` on.
  int64_t num_meetings(size_t first, size_t end) const {
    int64_t num_strips = 0;
    for (size_t p = first; p < end; ++p) {
      num_strips += pairs_[p].input->last_strip - pairs_[p].input->first_strip;
    }
    return num_strips * along_y_.width();
  }

  // Writes them to slab.words, and returns their end.
  CellWord* find_words(SlabCells& cells, const OutputSlab& slab) const {
    const int64_t words_per_column = outputs_.words_per_column(), width = along_y_.width();
    int64_t begin = outputs_.num_words(), end = 0;
    std::vector<AxisMeeting> room(width);
    for (int64_t p = slab.first_pair; p < slab.last_pair; ++p) {
      const Slab& input = *pairs_[p].input;
      for (int64_t i = input.first_strip; i < input.last_strip; ++i) {
        const Strip& strip = inputs_.strips[i];
        const AxisMeeting* met = along_y_.of(strip.y, room.data());
        if (met == nullptr) continue;
        for (int64_t a = 0; a < width; ++a) {
          const int64_t word = met[a].output * words_per_column + strip.word;
          cells.mark(word, strip.bits);
          begin = std::min(begin, word);
          end = std::max(end, word + 1);
        }
      }
    }
    return cells.take(begin, end, slab.words);
  }

  void write_indices(const OutputSlab& slab, int32_t* indices) const {
    const int64_t output = pairs_[slab.first_pair].output;
    const auto batch = static_cast<int32_t>(output / outputs_.shape[0]);
    const auto x = static_cast<int32_t>(output % outputs_.shape[0]);
    const int64_t bits_per_column = outputs_.words_per_column() * 64;
    int32_t* to = indices + slab.first_row * 4;
    for (const CellWord* word = slab.words; word < slab.words_end; ++word) {
      const int64_t y = word->first_cell / bits_per_column, column = y * bits_per_column;
      word->for_each_cell([&](int64_t cell) {
        *to++ = batch;
        *to++ = x;
        *to++ = static_cast<int32_t>(y);
        *to++ = static_cast<int32_t>(cell - column);
      });
    }
  }

  // `number` tells the cells of the slab apart.
  template <typename Number>
  void write_in_rows(const Number& number, const OutputSlab& slab, int32_t* in_rows) const {
    const int64_t num_outputs = num_outputs_, size_y = kernel_.size[1], size_z = kernel_.size[2];
    const int64_t width_y = along_y_.width(), width_z = along_z_.width();
    const int64_t bits_per_column = outputs_.words_per_column() * 64;
    std::vector<AxisMeeting> room_y(width_y), room_z(width_z);
    int32_t* const rows = in_rows + slab.first_row;
    for (int64_t k = 0; k < kernel_.num_offsets(); ++k) {
      std::fill_n(rows + k * num_outputs, slab.num_rows, -1);
    }
    for (int64_t p = slab.first_pair; p < slab.last_pair; ++p) {
      const SlabPair& pair = pairs_[p];
      for (int64_t i = pair.input->begin; i < pair.input->end; ++i) {
        const int64_t row = index_.row(i);
        const int32_t* voxel = voxels_.indices + row * 4;
        const AxisMeeting* met_y = along_y_.of(voxel[2], room_y.data());
        const AxisMeeting* met_z = along_z_.of(voxel[3], room_z.data());
        if (met_y == nullptr || met_z == nullptr) continue;
        for (int64_t a = 0; a < width_y; ++a) {
          const int64_t column = met_y[a].output * bits_per_column;
          const int64_t k = (pair.offset * size_y + met_y[a].offset) * size_z;
          for (int64_t b = 0; b < width_z; ++b) {
            const int64_t output = number(column + met_z[b].output);
            rows[(k + met_z[b].offset) * num_outputs + output] = static_cast<int32_t>(row);
          }
        }
      }
    }
  }

  const VoxelSet& voxels_;
  const VoxelIndex& index_;
  const KernelGeometry& kernel_;
  const VoxelGrid& outputs_;
  const AxisReach along_y_, along_z_;
  const Slabs inputs_;
  const std::vector<SlabPair> pairs_;  // by output slab
  AlignedBuffer<CellWord> words_;
  std::vector<OutputSlab> slabs_;
  int64_t num_outputs_ = 0;
};

}  // namespace

void output_voxels(const VoxelSet& voxels, const VoxelIndex& index, const KernelGeometry& kernel,
                   bool transposed, const VoxelGrid& outputs,
                   const std::function<OutputVoxels(int64_t)>& allocate) {
  Builder builder(voxels, index, kernel, transposed, outputs);
  builder.write(allocate(builder.find()));
}

}  // namespace elite_ops::cpu
