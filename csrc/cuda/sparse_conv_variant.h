// Which kernel computes a convolution.
#pragma once

#include <cuda_runtime.h>

#include <bit>
#include <cstdint>
#include <span>

#include "common/sparse_conv_types.h"

namespace elite_ops::cuda {

// Each gives the same bits on every run, and kTiles64, kTiles128 and kResident give the same bits
// as each other. Warpgroup products add in the same order, but the device may round inside of one
// otherwise than inside of an mma; kWarpgroup64 and kWarpgroup128 use the same ones.
enum class SparseConvVariant : int32_t {
  kAutomatic = 0,     // as the table says
  kGeneral = 1,       // plain arithmetic, any type, any channels
  kTiles64 = 2,       // tensor cores, tiles of 64 rows
  kTiles128 = 3,      // tensor cores, tiles of 128 rows
  kResident = 4,      // tensor cores, the weights stay in shared memory
  kWarpgroup64 = 5,   // warpgroup products of sm_90a, tiles of 64 rows
  kWarpgroup128 = 6,  // warpgroup products of sm_90a, tiles of 128 rows
  kDirect16 = 7,      // 4 warps, 16 rows each
  kDirect32 = 8,      // 4 warps, 32 rows each
  kDirect16Few = 9,   // fewer at once
  kDirect16x8 = 10,   // 8 warps
  kDirectWide = 11,   // 128 columns
  kResident32 = 13,   // slabs of 32 rows
};

constexpr bool uses_warpgroups(SparseConvVariant variant) {
  return variant == SparseConvVariant::kWarpgroup64 || variant == SparseConvVariant::kWarpgroup128;
}

// A rule holds for rows of at least 2^min_log2_rows, at least min_channels channels (the larger of
// both sides), elements of at most max_element_bytes, and devices from min_architecture on.
struct SparseConvRule {
  int max_element_bytes;
  int64_t min_channels;
  int min_log2_rows;
  int min_architecture;
  SparseConvVariant variant;
};

// The first rule that holds counts. Large tiles read the weights less often; small ones spread few
// rows over more multiprocessors. Whether warpgroups are used must not depend on the rows: a buffer
// with room to spare would give other bits than an exact one. None of it has been measured yet.
constexpr SparseConvRule kSparseConvRules[] = {
    {4, 129, 13, 0, SparseConvVariant::kTiles128},
    {4, 65, 14, 0, SparseConvVariant::kTiles128},
    {4, 1, 15, 0, SparseConvVariant::kTiles128},
    {4, 0, 0, 0, SparseConvVariant::kTiles64},
};

// The choice of `rules` for what tensor cores can do. `holds_warpgroups`: the library was built for
// sm_90a.
constexpr SparseConvVariant choose_variant(
    const SparseConvShape& shape, int element_bytes, int architecture, bool holds_warpgroups,
    std::span<const SparseConvRule> rules = kSparseConvRules) {
  const bool can_use_warpgroups =
      holds_warpgroups && architecture == 90 && element_bytes == 2 && shape.c_in % 64 == 0;
  const int64_t channels = shape.c_in > shape.c_out ? shape.c_in : shape.c_out;
  const int log2_rows = std::bit_width(static_cast<uint64_t>(shape.num_out)) - 1;
  for (const SparseConvRule& rule : rules) {
    if (uses_warpgroups(rule.variant) && !can_use_warpgroups) continue;
    if (element_bytes <= rule.max_element_bytes && channels >= rule.min_channels &&
        log2_rows >= rule.min_log2_rows && architecture >= rule.min_architecture) {
      return rule.variant;
    }
  }
  return SparseConvVariant::kTiles64;
}

// The compute capability of the current device: 80, 90, ...
inline cudaError_t current_architecture(int* architecture) {
  int device = 0, major = 0, minor = 0;
  cudaError_t status = cudaGetDevice(&device);
  if (status == cudaSuccess) {
    status = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  }
  if (status == cudaSuccess) {
    status = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
  }
  *architecture = major * 10 + minor;
  return status;
}

}  // namespace elite_ops::cuda
