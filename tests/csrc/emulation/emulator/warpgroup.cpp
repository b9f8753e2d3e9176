#include "emulator/warpgroup.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <vector>

#include "emulator/async_proxy.h"
#include "emulator/shared_memory.h"

namespace emulation {
namespace {

constexpr int kM = 64, kN = 64, kK = 16;

template <int kRows, int kColumns>
using Elements = std::array<std::array<uint16_t, kColumns>, kRows>;

struct Product {
  uint64_t a_descriptor, b_descriptor;
  Elements<kM, kK> a;
  Elements<kK, kN> b;
  int64_t group;
};

// The registers that products add to, and what they will hold.
struct Sums {
  float* registers[kWarpgroupThreads];
  float values[kWarpgroupThreads][kSumsPerThread];
  int64_t group;  // of the latest product
};

struct Warpgroup {
  bool fenced = false;
  int64_t committed = 0;
  std::vector<Product> products;
  std::vector<Sums> sums;
};

Warpgroup warpgroups[kMaxThreads / kWarpgroupThreads];

Warpgroup& mine() { return warpgroups[thread() / kWarpgroupThreads]; }

// Reads a matrix of 128-byte swizzled rows. A row lies in a line of 128 bytes, eight lines make a
// group, and the 16-byte vectors of a line are exchanged as bits 7 to 9 of its address say.
template <int kRows, int kColumns>
Elements<kRows, kColumns> read(uint64_t descriptor) {
  constexpr int kVector = 8;  // elements
  const auto field = [&](int bit) {
    return static_cast<uint32_t>(descriptor >> bit & 0x3fff) * 16;
  };
  const uint32_t start = field(0), group_bytes = field(32);
  if (descriptor >> 62 != 1 || (descriptor >> 49 & 7) != 0) {
    fail("a descriptor %#llx of what is not 128-byte swizzled and on 1024 bytes has no stand-in",
         static_cast<unsigned long long>(descriptor));
  }
  Elements<kRows, kColumns> elements;
  for (uint32_t row = 0; row < kRows; ++row) {
    for (uint32_t column = 0; column < kColumns; column += kVector) {
      const uint32_t place = start + row / 8 * group_bytes + row % 8 * 128 + column * 2;
      const uint32_t address = place ^ (place >> 7 & 7) << 4;
      const unsigned char* vector = window_pointer(address);
      if (!vector || !window_pointer(address + 15)) {
        fail("a product reads at %#x, outside of dynamic shared memory", address);
      }
      check_fenced(vector);
      std::memcpy(&elements[row][column], vector, 16);
    }
  }
  return elements;
}

// The entry of these registers, with their values of now unless products add to them already.
Sums& find_sums(Warpgroup& group, float* const (&registers)[kWarpgroupThreads]) {
  for (Sums& sums : group.sums) {
    if (std::memcmp(sums.registers, registers, sizeof registers) == 0) return sums;
  }
  Sums& sums = group.sums.emplace_back();
  for (int t = 0; t < kWarpgroupThreads; ++t) {
    sums.registers[t] = registers[t];
    std::copy_n(registers[t], kSumsPerThread, sums.values[t]);
    std::fill_n(registers[t], kSumsPerThread, std::numeric_limits<float>::quiet_NaN());
  }
  return sums;
}

struct Issue {
  float* sums;
  uint64_t a, b;
  const float* numbers;
};

void add_product(const Product& product, const float* numbers, Sums& sums) {
  for (int t = 0; t < kWarpgroupThreads; ++t) {
    for (int i = 0; i < kSumsPerThread; ++i) {
      const int row = t / kLanes * 16 + t % kLanes / 4 + i / 2 % 2 * 8;
      const int column = i / 4 * 8 + t % 4 * 2 + i % 2;
      double sum = double{sums.values[t][i]};
      for (int k = 0; k < kK; ++k) {
        sum += double{numbers[product.a[row][k]]} * double{numbers[product.b[k][column]]};
      }
      sums.values[t][i] = static_cast<float>(sum);
    }
  }
}

void combine_products(void* const (&threads)[kWarpgroupThreads]) {
  Warpgroup& group = mine();
  if (!group.fenced) fail("a product without wgmma_fence before it");
  const Issue& first = *static_cast<Issue*>(threads[0]);
  float* registers[kWarpgroupThreads];
  for (int t = 0; t < kWarpgroupThreads; ++t) {
    const Issue& issue = *static_cast<Issue*>(threads[t]);
    if (issue.a != first.a || issue.b != first.b) fail("descriptors differ in a warpgroup");
    registers[t] = issue.sums;
  }
  const Product product{first.a, first.b, read<kM, kK>(first.a), read<kK, kN>(first.b),
                        group.committed};
  Sums& sums = find_sums(group, registers);
  sums.group = product.group;
  add_product(product, first.numbers, sums);
  group.products.push_back(product);
}

struct Wait {
  int groups_under_way;
};

void combine_waits(void* const (&threads)[kWarpgroupThreads]) {
  Warpgroup& group = mine();
  const int64_t done = group.committed - static_cast<Wait*>(threads[0])->groups_under_way;
  std::erase_if(group.products, [&](const Product& product) {
    if (product.group >= done) return false;
    if (read<kM, kK>(product.a_descriptor) != product.a ||
        read<kK, kN>(product.b_descriptor) != product.b) {
      fail("an operand changed while a product was reading it");
    }
    return true;
  });
  std::erase_if(group.sums, [&](const Sums& sums) {
    if (sums.group >= done) return false;
    for (int t = 0; t < kWarpgroupThreads; ++t) {
      std::copy_n(sums.values[t], kSumsPerThread, sums.registers[t]);
    }
    return true;
  });
  group.fenced = false;
}

}  // namespace

void multiply_64x64x16(float* sums, uint64_t a, uint64_t b, const float* numbers, Place place) {
  Issue issue{sums, a, b, numbers};
  wait_for_warpgroup(&issue, combine_products, place);
}

void fence_products(Place place) {
  wait_for_warpgroup(nullptr, [](auto&) { mine().fenced = true; }, place);
}

void commit_products(Place place) {
  wait_for_warpgroup(nullptr, [](auto&) { ++mine().committed; }, place);
}

void wait_for_products(int groups_under_way, Place place) {
  Wait wait{groups_under_way};
  wait_for_warpgroup(&wait, combine_waits, place);
}

void forget_products(int thread) {
  Warpgroup& group = warpgroups[thread / kWarpgroupThreads];
  group.fenced = false;
  group.committed = 0;
  group.products.clear();
  group.sums.clear();
}

}  // namespace emulation
