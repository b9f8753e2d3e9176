#include "voxelize.h"

#include <algorithm>
#include <bit>
#include <memory>
#include <utility>
#include <vector>

#include "key_sort.h"
#include "parallel.h"

namespace elite_ops::cpu {
namespace {

// The bitmap is never whole in memory: points are first sorted into buckets of neighbouring words,
// and each bucket has its bits marked, and its cells numbered, in tables that stay in the first two
// cache levels. A whole bitmap costs more in page faults than all of this.
constexpr int kBucketBits = 15;  // 512 words of 64 bits
constexpr int64_t kBucketCells = int64_t{1} << kBucketBits;
constexpr int64_t kGrain = 8192;  // points; less is not worth a thread

struct Entry {
  uint16_t cell;  // within the bucket; later its number among the occupied cells
  int32_t point;
};

// keys[i - begin] = the key of point i, or `outside` if it is not in the range. A block of points
// at a time and axis by axis, in loops that vectorize.
template <typename key_t>
void find_keys(const PointRows& points, const PointRange& range, const VoxelGrid& grid,
               int64_t begin, int64_t end, key_t outside, key_t* keys) {
  constexpr int64_t kBlock = 512;
  const key_t cells_per_line[] = {static_cast<key_t>(grid.shape[0]),
                                  static_cast<key_t>(grid.shape[1]),
                                  static_cast<key_t>(grid.words_per_column() * 64)};
  for (int64_t first = begin; first < end; first += kBlock, keys += kBlock) {
    const int64_t n = std::min(kBlock, end - first);
    int32_t is_inside[kBlock], cell[kBlock];
    float p[kBlock];
    for (int64_t i = 0; i < n; ++i) {
      keys[i] = static_cast<key_t>(points.sample(first + i));
      is_inside[i] = 1;
    }
    for (int axis = 0; axis < 3; ++axis) {
      const float min = range.min[axis], max = range.max[axis], extent = range.extent[axis];
      for (int64_t i = 0; i < n; ++i) p[i] = points.at(first + i)[axis];
      for (int64_t i = 0; i < n; ++i) {
        const int32_t is_between = (p[i] > min) & (p[i] < max);
        is_inside[i] &= is_between;
        cell[i] = cell_of(is_between ? p[i] : min, min, extent, grid.cells[axis]);
      }
      if (grid.divisor != 1) {
        for (int64_t i = 0; i < n; ++i) cell[i] /= grid.divisor;
      }
      for (int64_t i = 0; i < n; ++i) keys[i] = keys[i] * cells_per_line[axis] + cell[i];
    }
    for (int64_t i = 0; i < n; ++i) keys[i] = is_inside[i] ? keys[i] : outside;
  }
}

// Numbers the cells that points lie in, in a grid that is small enough for a bitmap.
class BucketedBitmap {
 public:
  BucketedBitmap(int64_t num_points, const VoxelGrid& grid)
      : num_points_(num_points),
        grid_(grid),
        num_buckets_((grid.num_words() * 64 + kBucketCells - 1) / kBucketCells),
        num_chunks_(std::clamp<int64_t>(num_points / kGrain, 1, num_threads())),
        next_(num_chunks_ * (num_buckets_ + 1)),
        bucket_begin_(num_buckets_ + 1),
        voxel_begin_(num_buckets_ + 1),
        keys_(std::make_unique_for_overwrite<int32_t[]>(num_points)),
        entries_(std::make_unique_for_overwrite<Entry[]>(num_points)) {}

  // Sorts the points by bucket, each bucket in the order of the points. `find_keys(begin, end,
  // outside, keys)` writes the keys of the points from `begin` to `end`; those without a cell, with
  // the key `outside`, come last, in a bucket of their own.
  template <typename FindKeys>
  void partition(const FindKeys& find_keys) {
    for_chunks([&](int64_t chunk, int64_t begin, int64_t end) {
      const auto outside = static_cast<int32_t>(num_buckets_ << kBucketBits);
      find_keys(begin, end, outside, &keys_[begin]);
      int32_t* count = &next_[chunk * (num_buckets_ + 1)];
      for (int64_t i = begin; i < end; ++i) ++count[keys_[i] >> kBucketBits];
    });
    int32_t begin = 0;
    for (int64_t bucket = 0; bucket <= num_buckets_; ++bucket) {
      bucket_begin_[bucket] = begin;
      for (int64_t chunk = 0; chunk < num_chunks_; ++chunk) {
        begin += std::exchange(next_[chunk * (num_buckets_ + 1) + bucket], begin);
      }
    }
    for_chunks([&](int64_t chunk, int64_t begin, int64_t end) {
      int32_t* next = &next_[chunk * (num_buckets_ + 1)];
      for (int64_t i = begin; i < end; ++i) {
        const auto cell = static_cast<uint16_t>(keys_[i] & (kBucketCells - 1));
        entries_[next[keys_[i] >> kBucketBits]++] = {cell, static_cast<int32_t>(i)};
      }
    });
  }

  // Numbers the occupied cells of each bucket. Returns how many there are in all.
  int64_t rank() {
    // keys_ is free by now: it receives the keys of a bucket's voxels, from the bucket's first
    // entry on.
    for_buckets([&](int64_t begin, int64_t end) {
      std::vector<uint64_t> words(kBucketCells / 64);
      const auto number = std::make_unique_for_overwrite<uint16_t[]>(kBucketCells);
      for (int64_t bucket = begin; bucket < end; ++bucket) {
        voxel_begin_[bucket] = rank_bucket(bucket, words, number.get());
      }
    });
    int32_t total = 0;
    for (int32_t& begin : voxel_begin_) total += std::exchange(begin, total);
    return total;
  }

  void emit(const VoxelRows& voxels, int32_t* inverse) const {
    for_buckets([&](int64_t begin, int64_t end) {
      for (int64_t bucket = begin; bucket < end; ++bucket) {
        const int32_t first = voxel_begin_[bucket];
        const int32_t* keys = &keys_[bucket_begin_[bucket]];
        for (int32_t v = first; v < voxel_begin_[bucket + 1]; ++v) {
          grid_.unpack(static_cast<uint32_t>(keys[v - first]), voxels.indices + int64_t{v} * 4);
          voxels.counts[v] = 0;
        }
        for (int32_t e = bucket_begin_[bucket]; e < bucket_begin_[bucket + 1]; ++e) {
          const int32_t row = first + entries_[e].cell;
          inverse[entries_[e].point] = row;
          ++voxels.counts[row];
        }
      }
    });
    for (int64_t e = bucket_begin_[num_buckets_]; e < num_points_; ++e) {
      inverse[entries_[e].point] = -1;
    }
  }

 private:
  // The points in `num_chunks_` equal parts: body(chunk, begin, end).
  template <typename Body>
  void for_chunks(const Body& body) const {
    parallel_for(0, num_chunks_, 1, [&](int64_t first, int64_t last) {
      for (int64_t chunk = first; chunk < last; ++chunk) {
        body(chunk, num_points_ * chunk / num_chunks_, num_points_ * (chunk + 1) / num_chunks_);
      }
    });
  }

  // All buckets, in parts of about as many entries: body(begin, end).
  template <typename Body>
  void for_buckets(const Body& body) const {
    const auto bucket_at = [&](int64_t entry) {
      return std::lower_bound(bucket_begin_.begin(), bucket_begin_.end() - 1, entry) -
             bucket_begin_.begin();
    };
    const int64_t num_entries = bucket_begin_[num_buckets_];
    parallel_for(0, num_entries, kGrain, [&](int64_t begin, int64_t end) {
      body(bucket_at(begin), end == num_entries ? num_buckets_ : bucket_at(end));
    });
  }

  int32_t rank_bucket(int64_t bucket, std::vector<uint64_t>& words, uint16_t* number) {
    const int32_t begin = bucket_begin_[bucket], end = bucket_begin_[bucket + 1];
    if (begin == end) return 0;
    uint64_t marked[kBucketCells / 64 / 64] = {};  // a bit for each word that is not zero
    for (int32_t e = begin; e < end; ++e) {
      const int cell = entries_[e].cell;
      words[cell / 64] |= uint64_t{1} << cell % 64;
      marked[cell / 4096] |= uint64_t{1} << cell / 64 % 64;
    }
    const int32_t first_key = static_cast<int32_t>(bucket << kBucketBits);
    uint16_t count = 0;
    for (int group = 0; group < kBucketCells / 4096; ++group) {
      for (uint64_t rest = marked[group]; rest != 0; rest &= rest - 1) {
        uint64_t& word = words[group * 64 + std::countr_zero(rest)];
        const int first_cell = (group * 64 + std::countr_zero(rest)) * 64;
        for (; word != 0; word &= word - 1) {
          const int cell = first_cell + std::countr_zero(word);
          keys_[begin + count] = first_key + cell;
          number[cell] = count++;
        }
      }
    }
    for (int32_t e = begin; e < end; ++e) entries_[e].cell = number[entries_[e].cell];
    return count;
  }

  const int64_t num_points_;
  const VoxelGrid& grid_;
  const int64_t num_buckets_;
  const int64_t num_chunks_;
  std::vector<int32_t> next_;          // [chunks, buckets + 1]: where a chunk's next entry goes
  std::vector<int32_t> bucket_begin_;  // [buckets + 1]
  std::vector<int32_t> voxel_begin_;   // [buckets + 1]
  std::unique_ptr<int32_t[]> keys_;    // of the points; later of the voxels
  std::unique_ptr<Entry[]> entries_;
};

template <typename FindKeys>
int64_t number_by_bitmap(int64_t num_points, const VoxelGrid& grid, const FindKeys& find_keys,
                         int32_t* inverse, const std::function<VoxelRows(int64_t)>& allocate) {
  BucketedBitmap bitmap(num_points, grid);
  bitmap.partition(find_keys);
  const int64_t num_voxels = bitmap.rank();
  bitmap.emit(allocate(num_voxels), inverse);
  return num_voxels;
}

template <typename FindKeys>
int64_t number_by_sort(int64_t num_points, const VoxelGrid& grid, const FindKeys& find_keys,
                       int32_t* inverse, const std::function<VoxelRows(int64_t)>& allocate) {
  constexpr int64_t kOutside = -1;
  std::vector<int64_t> keys(num_points);
  find_keys(int64_t{0}, num_points, kOutside, keys.data());
  std::vector<KeyedRow> sorted;
  for (int64_t i = 0; i < num_points; ++i) {
    inverse[i] = -1;
    if (keys[i] != kOutside) sorted.push_back({keys[i], static_cast<int32_t>(i)});
  }
  sort_by_key(sorted, grid.num_words() * 64);
  int64_t num_voxels = 0;
  for (size_t i = 0; i < sorted.size(); ++i) {
    num_voxels += i == 0 || sorted[i].key != sorted[i - 1].key;
    inverse[sorted[i].row] = static_cast<int32_t>(num_voxels - 1);
  }
  const VoxelRows voxels = allocate(num_voxels);
  std::fill_n(voxels.counts, num_voxels, 0);
  for (const KeyedRow& r : sorted) {
    const int64_t row = inverse[r.row];
    if (voxels.counts[row]++ == 0) grid.unpack(r.key, voxels.indices + row * 4);
  }
  return num_voxels;
}

// Numbers the cells of points from the points' keys.
template <typename FindKeys>
int64_t number_cells(int64_t num_points, const VoxelGrid& grid, const FindKeys& find_keys,
                     int32_t* inverse, const std::function<VoxelRows(int64_t)>& allocate) {
  return uses_bitmap(grid.num_words(), num_points)
             ? number_by_bitmap(num_points, grid, find_keys, inverse, allocate)
             : number_by_sort(num_points, grid, find_keys, inverse, allocate);
}

}  // namespace

int64_t first_outside_batch(const PointRows& points, int64_t batch_size) {
  if (points.batch_index == nullptr) return points.num_points;
  return std::find_if_not(points.batch_index, points.batch_index + points.num_points,
                          [=](int64_t b) { return b >= 0 && b < batch_size; }) -
         points.batch_index;
}

int64_t voxelize(const PointRows& points, const PointRange& range, const VoxelGrid& grid,
                 int32_t* inverse, const std::function<VoxelRows(int64_t)>& allocate) {
  const auto keys_of_points = [&](int64_t begin, int64_t end, auto outside, auto* keys) {
    find_keys(points, range, grid, begin, end, outside, keys);
  };
  return number_cells(points.num_points, grid, keys_of_points, inverse, allocate);
}

int64_t halve_voxels(const int32_t* indices, int64_t num_voxels, const VoxelGrid& halved,
                     int32_t* inverse, const std::function<VoxelRows(int64_t)>& allocate) {
  const auto keys_of_voxels = [&](int64_t begin, int64_t end, auto outside, auto* keys) {
    for (int64_t i = begin; i < end; ++i) {
      const int32_t* index = indices + i * 4;
      keys[i - begin] = static_cast<decltype(outside)>(
          halved.key(index[0], index[1] / 2, index[2] / 2, index[3] / 2));
    }
  };
  return number_cells(num_voxels, halved, keys_of_voxels, inverse, allocate);
}

}  // namespace elite_ops::cpu
