#include "hard_voxelize.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <optional>
#include <type_traits>
#include <vector>

#include "aligned_buffer.h"
#include "key_sort.h"
#include "parallel.h"
#include "x86.h"

namespace elite_ops::cpu {
namespace {

constexpr int64_t kGrain = 8192;  // points; less is not worth a thread

// keys[i] = the cell of point i, or -1. A block of points at a time and axis by axis, in loops that
// vectorize; `grid` is a copy, which `keys` can't be an alias of.
template <typename key_t>
__attribute__((always_inline)) inline void find_keys_in_blocks(const PointRows& points,
                                                               CellGrid grid, int64_t begin,
                                                               int64_t end, key_t* keys) {
  constexpr int64_t kBlock = 512;
  for (int64_t first = begin; first < end; first += kBlock) {
    const int64_t n = std::min(kBlock, end - first);
    key_t* key = keys + first;
    int32_t is_inside[kBlock], cell[kBlock];
    float p[kBlock];
    for (int64_t i = 0; i < n; ++i) {
      key[i] = static_cast<key_t>(points.sample(first + i));
      is_inside[i] = 1;
    }
    for (int axis = 0; axis < 3; ++axis) {
      const int32_t size = grid.shape[axis];
      for (int64_t i = 0; i < n; ++i) p[i] = points.at(first + i)[axis];
      for (int64_t i = 0; i < n; ++i) {
        const float position = grid.position(p[i], axis);
        const int32_t is_between = (position >= 0) & (position < static_cast<float>(size));
        is_inside[i] &= is_between;
        cell[i] = static_cast<int32_t>(is_between ? position : 0.f);
      }
      for (int64_t i = 0; i < n; ++i) key[i] = key[i] * size + cell[i];
    }
    for (int64_t i = 0; i < n; ++i) key[i] = is_inside[i] ? key[i] : key_t{-1};
  }
}

#if ELITE_X86
template <typename key_t>
__attribute__((target("avx2"))) void find_keys_avx2(const PointRows& points, const CellGrid& grid,
                                                    int64_t begin, int64_t end, key_t* keys) {
  find_keys_in_blocks(points, grid, begin, end, keys);
}
#endif

// Every variant computes the same bits: the operations are those of IEEE 754, one by one.
template <typename key_t>
void find_keys(const PointRows& points, const CellGrid& grid, int64_t begin, int64_t end,
               key_t* keys) {
#if ELITE_X86
  if (__builtin_cpu_supports("avx2")) return find_keys_avx2(points, grid, begin, end, keys);
#endif
  find_keys_in_blocks(points, grid, begin, end, keys);
}

// The points of one sample: all, or those listed.
struct Sample {
  const KeyedRow* listed;  // null for all
  int64_t size;

  int64_t operator[](int64_t i) const { return listed == nullptr ? i : listed[i].row; }
};

// The voxels of one sample, numbered from 0, and where to find their keys: a table of their rows
// with open addressing.
template <typename key_t>
class Voxels {
 public:
  explicit Voxels(int64_t max_size)
      : max_size_(max_size),
        shift_(64 - std::bit_width(static_cast<uint64_t>(std::max<int64_t>(2 * max_size - 1, 1)))),
        mask_((uint64_t{1} << (64 - shift_)) - 1),
        rows_(static_cast<int64_t>(mask_) + 1),
        keys_(max_size),
        counts_(max_size) {
    std::fill_n(rows_.data(), mask_ + 1, -1);
  }

  int64_t size() const { return size_; }
  key_t key(int64_t row) const { return keys_.data()[row]; }
  int32_t& count(int64_t row) const { return counts_.data()[row]; }

  void prefetch(key_t key) const { __builtin_prefetch(rows_.data() + place(key)); }

  // The row of a key, which is new where there was none; -1 where there is no room for it.
  int32_t find_or_add(key_t key) {
    int32_t* rows = rows_.data();
    uint64_t at = place(key);
    while (rows[at] >= 0 && keys_[rows[at]] != key) at = (at + 1) & mask_;
    if (rows[at] >= 0 || size_ == max_size_) return rows[at];
    keys_[size_] = key;
    counts_[size_] = 0;
    rows[at] = static_cast<int32_t>(size_++);
    return rows[at];
  }

 private:
  uint64_t place(key_t key) const {
    return static_cast<uint64_t>(key) * 0x9E3779B97F4A7C15u >> shift_;
  }

  int64_t max_size_;
  int shift_;
  uint64_t mask_;
  AlignedBuffer<int32_t> rows_;
  AlignedBuffer<key_t> keys_;
  AlignedBuffer<int32_t> counts_;
  int64_t size_ = 0;
};

template <typename key_t>
Voxels<key_t> number_voxels(const Sample& sample, const key_t* keys, const VoxelLimits& limits,
                            const PointPlaces& places) {
  constexpr int64_t kAhead = 16;  // points whose entries are requested
  Voxels<key_t> voxels(std::min(limits.max_voxels, sample.size));
  for (int64_t i = 0; i < sample.size; ++i) {
    if (i + kAhead < sample.size) voxels.prefetch(keys[sample[i + kAhead]]);
    const int64_t point = sample[i];
    const int32_t row = keys[point] < 0 ? -1 : voxels.find_or_add(keys[point]);
    const bool has_slot = row >= 0 && voxels.count(row) < limits.max_points;
    places.rows[point] = row;
    places.slots[point] = has_slot ? voxels.count(row)++ : -1;
  }
  return voxels;
}

// The points in order of their samples; none are listed where there is one sample.
std::vector<KeyedRow> by_sample(const PointRows& points, int64_t batch_size) {
  std::vector<KeyedRow> listed;
  if (points.batch_index == nullptr) return listed;
  listed.reserve(points.num_points);
  for (int64_t i = 0; i < points.num_points; ++i) {
    listed.push_back({points.sample(i), static_cast<int32_t>(i)});
  }
  const auto is_before = [](const KeyedRow& a, const KeyedRow& b) { return a.key < b.key; };
  if (!std::is_sorted(listed.begin(), listed.end(), is_before)) sort_by_key(listed, batch_size);
  return listed;
}

// The samples that have points.
std::vector<Sample> cut(const std::vector<KeyedRow>& listed, int64_t num_points) {
  if (listed.empty()) return {{nullptr, num_points}};
  std::vector<Sample> samples;
  for (int64_t begin = 0, i = 1; i <= num_points; ++i) {
    if (i < num_points && listed[i].key == listed[begin].key) continue;
    samples.push_back({&listed[begin], i - begin});
    begin = i;
  }
  return samples;
}

template <typename key_t>
void emit(const Voxels<key_t>& voxels, const CellGrid& grid, int64_t first_row,
          const VoxelRows& rows) {
  for (int64_t v = 0; v < voxels.size(); ++v) {
    grid.unpack(static_cast<std::make_unsigned_t<key_t>>(voxels.key(v)),
                rows.indices + (first_row + v) * 4);
    rows.counts[first_row + v] = voxels.count(v);
  }
}

void shift(const Sample& sample, int32_t first_row, int32_t* rows) {
  for (int64_t i = 0; i < sample.size; ++i) {
    int32_t& row = rows[sample[i]];
    if (row >= 0) row += first_row;
  }
}

template <typename key_t>
int64_t voxelize_by(const PointRows& points, const CellGrid& grid, const VoxelLimits& limits,
                    const PointPlaces& places, const std::function<VoxelRows(int64_t)>& allocate) {
  const AlignedBuffer<key_t> keys(points.num_points);
  parallel_for(0, points.num_points, kGrain, [&](int64_t begin, int64_t end) {
    find_keys(points, grid, begin, end, keys.data());
  });
  const std::vector<KeyedRow> listed = by_sample(points, grid.batch_size);
  const std::vector<Sample> samples = cut(listed, points.num_points);
  const auto num_samples = static_cast<int64_t>(samples.size());

  std::vector<std::optional<Voxels<key_t>>> voxels(num_samples);
  parallel_for(0, num_samples, 1, [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      voxels[s].emplace(number_voxels(samples[s], keys.data(), limits, places));
    }
  });
  std::vector<int64_t> first_row{0};
  for (const auto& of_sample : voxels) {
    first_row.push_back(first_row.back() + of_sample->size());
  }

  const VoxelRows rows = allocate(first_row.back());
  parallel_for(0, num_samples, 1, [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      emit(*voxels[s], grid, first_row[s], rows);
      if (first_row[s] > 0) shift(samples[s], static_cast<int32_t>(first_row[s]), places.rows);
    }
  });
  return first_row.back();
}

}  // namespace

int64_t hard_voxelize(const PointRows& points, const CellGrid& grid, const VoxelLimits& limits,
                      const PointPlaces& places,
                      const std::function<VoxelRows(int64_t)>& allocate) {
  if (grid.num_cells() <= std::numeric_limits<int32_t>::max()) {
    return voxelize_by<int32_t>(points, grid, limits, places, allocate);
  }
  return voxelize_by<int64_t>(points, grid, limits, places, allocate);
}

}  // namespace elite_ops::cpu
