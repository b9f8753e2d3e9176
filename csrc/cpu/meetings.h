// What the columns of a kernel table meet, column by column.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>

#include "aligned_buffer.h"
#include "common/kernel_table.h"
#include "parallel.h"
#include "prefetch.h"
#include "vectors.h"

namespace elite_ops::cpu {

struct Meeting {
  int32_t row;
  int32_t offset;
};

// What one column meets, in the order of the offsets.
struct MeetingList {
  const Meeting* first;
  int64_t size;
  const Meeting* begin() const { return first; }
  const Meeting* end() const { return first + size; }
};

// Reads a table, a few neighbouring columns at a time. `T` is the type of the rows that are met,
// which are requested before they are needed.
template <typename T>
class Meetings {
 public:
  static constexpr int64_t kColumns = 32;

  // data [table.num_rows, channels]
  Meetings(const KernelTable& table, const T* data, int64_t channels)
      : table_(table),
        data_(data),
        channels_(channels),
        prefetched_(std::min(channels, kMaxPrefetched)),
        lists_(kColumns * table.num_offsets) {}

  // Whether all entries so far were in [-1, num_rows). Others meet nothing.
  bool in_range() const { return in_range_; }

  // Calls `body(i, met)` for the columns [begin, end) and what they meet.
  template <typename Body>
  ELITE_ALWAYS_INLINE void for_each(int64_t begin, int64_t end, const Body& body) {
    for (int64_t first = begin; first < end; first += kColumns) {
      const int64_t columns = std::min(kColumns, end - first);
      read(first, columns);
      for (int64_t i = 0; i < columns; ++i) {
        body(first + i, MeetingList{lists_.data() + i * table_.num_offsets, sizes_[i]});
      }
    }
  }

 private:
  static constexpr int64_t kOffsetsAtOnce = 32;
  static constexpr int64_t kMaxPrefetched = 512 / sizeof(T);  // of the channels of a row

  // First whether each column meets something under an offset, as bits and without branches: that
  // is unpredictable. Then what.
  ELITE_ALWAYS_INLINE void read(int64_t first, int64_t columns) {
    std::fill_n(sizes_, kColumns, 0);
    for (int64_t begin = 0; begin < table_.num_offsets; begin += kOffsetsAtOnce) {
      const int64_t offsets = std::min(kOffsetsAtOnce, table_.num_offsets - begin);
      const int32_t* rows = table_.rows + begin * table_.num_columns + first;
      uint32_t met[kColumns] = {};
      find(rows, offsets, columns, met);
      for (int64_t i = 0; i < columns; ++i) append(rows + i, begin, i, met[i]);
    }
  }

  // Bit k of met[i]: whether column i of `rows` meets a row under offset k.
  ELITE_ALWAYS_INLINE void find(const int32_t* rows, int64_t offsets, int64_t columns,
                                uint32_t* met) {
    const auto num_rows = static_cast<uint32_t>(table_.num_rows);
    const int64_t step = table_.num_columns;
    uint32_t outside = 0;
    for (int64_t k = 0; k < offsets; ++k, rows += step) {
      prefetch_row(rows + kColumns, kColumns);
      for (int64_t i = 0; i < columns; ++i) {
        const uint32_t is_valid = static_cast<uint32_t>(rows[i]) < num_rows;
        met[i] |= is_valid << k;
        outside |= ~is_valid & static_cast<uint32_t>(rows[i] != -1);
      }
    }
    in_range_ &= outside == 0;
  }

  ELITE_ALWAYS_INLINE void append(const int32_t* rows, int64_t first_offset, int64_t column,
                                  uint32_t met) {
    Meeting* list = lists_.data() + column * table_.num_offsets;
    int64_t size = sizes_[column];
    for (; met != 0; met &= met - 1) {
      const int k = std::countr_zero(met);
      const int32_t row = rows[k * table_.num_columns];
      prefetch_row(data_ + row * channels_, prefetched_);
      list[size++] = {row, static_cast<int32_t>(first_offset + k)};
    }
    sizes_[column] = size;
  }

  const KernelTable table_;
  const T* data_;
  const int64_t channels_;
  const int64_t prefetched_;
  AlignedBuffer<Meeting> lists_;  // [kColumns, num_offsets]
  int64_t sizes_[kColumns];
  bool in_range_ = true;
};

// Calls `body(bytes, i, met)` for every column and what it meets, on all threads, compiled for
// registers of `width` bytes (vectors.h). False when an entry is outside [-1, num_rows).
template <typename T, typename Body>
bool for_each_column(const KernelTable& table, const T* data, int64_t channels, VectorBytes width,
                     const Body& body) {
  constexpr int64_t kElementsPerRange = 1 << 14;
  const int64_t grain_size =
      std::max(Meetings<T>::kColumns, kElementsPerRange / std::max<int64_t>(1, channels));
  std::atomic<bool> in_range{true};
  parallel_for(0, table.num_columns, grain_size, [&](int64_t begin, int64_t end) {
    Meetings<T> meetings(table, data, channels);
    with_vectors(width, [&](auto bytes) __attribute__((always_inline)) {
      meetings.for_each(begin, end,
                        [&](int64_t i, const MeetingList& met)
                            __attribute__((always_inline)) { body(bytes, i, met); });
    });
    if (!meetings.in_range()) in_range = false;
  });
  return in_range;
}

}  // namespace elite_ops::cpu
