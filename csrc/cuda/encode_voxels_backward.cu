// The gradients of an encoder's weight and bias. A warp owns a voxel; its lanes share out what
// describes a point, and then each owns a channel and adds that channel's gradient to its column of
// sums, in registers. A block owns a fixed share of the voxels, one tile of channels and one of
// rows of sums; a second kernel adds up the sums of all shares, always in the same order.
#include "common/num_rows.h"
#include "cuda/dynamic_shared.cuh"
#include "cuda/encode_voxels.h"
#include "cuda/launch.cuh"
#include "cuda/point_describer.cuh"

namespace elite_ops::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kBlockVoxels = 32 * kWarps;
constexpr int kFeatures = 16;  // rows of sums in a thread's registers: one tile of them

int64_t tiles(int64_t items, int64_t size) { return (items + size - 1) / size; }

// A row of sums for each feature and for the bias, in whole tiles.
ELITE_HOST_DEVICE constexpr int64_t padded_rows(int64_t num_features) {
  return (num_features / kFeatures + 1) * kFeatures;
}
// What a block keeps in shared memory: the sums of its warps and, dynamically, what describes a
// point for each warp.
static_assert(kWarps * (kFeatures * kWarpSize * sizeof(double) +
                        padded_rows(kMaxColumnsBackward + 6) * sizeof(float)) <=
              48 * 1024);

// The rows of sums: the features, and the bias as the weight of one more, which is 1.
int64_t num_rows_of(const VoxelPoints& voxels) { return voxels.num_features() + 1; }
// The shares of the voxels.
int64_t num_shares(const VoxelPoints& voxels) { return tiles(voxels.voxels.rows, kBlockVoxels); }

// Writes what describes a point, then 1, then zeros up to a multiple of kFeatures.
__device__ void describe(const VoxelPoints& voxels, int32_t entry, const float (&origins)[6],
                         int lane, int64_t padded, float* features) {
  const float* point = voxels.point(entry);
  const auto columns = static_cast<int>(voxels.columns);
  for (int f = lane; f < padded; f += kWarpSize) {
    float value = f == columns + 6 ? 1.f : 0.f;
    if (f < columns) value = point[f];
#pragma unroll
    for (int i = 0; i < 6; ++i) {
      if (f == columns + i) value = point[i % 3] - origins[i];
    }
    features[f] = value;
  }
}

// One share of the voxels, one tile of channels, one tile of features.
template <typename T>
__global__ void __launch_bounds__(kWarps* kWarpSize, 2)
    partial_kernel(VoxelPoints voxels, VoxelEncoder<T, accumulate_t<T>> encoder,
                   const T* __restrict__ grad_out, accumulate_t<T>* __restrict__ partials) {
  using accumulate = accumulate_t<T>;
  __shared__ accumulate warp_sums[kWarps][kFeatures][kWarpSize];
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int64_t num_features = voxels.num_features();
  const int64_t padded = padded_rows(num_features);
  float* features = dynamic_shared<float>() + warp * padded;
  const int64_t channel = int64_t{blockIdx.y} * kWarpSize + lane;
  const int64_t first_feature = int64_t{blockIdx.z} * kFeatures;
  const bool has_channel = channel < encoder.channels;
  const int64_t num_voxels = valid_rows(voxels.voxels.num_rows, voxels.voxels.rows);

  accumulate sums[kFeatures] = {};
  for (int i = warp; i < kBlockVoxels; i += kWarps) {
    const int64_t v = int64_t{blockIdx.x} * kBlockVoxels + i;
    if (v >= num_voxels) break;
    const int32_t first = voxels.voxels.offsets[v], last = voxels.voxels.offsets[v + 1];
    if (first == last) continue;
    float origins[6];
    find_origins(voxels, v, lane, origins);
    accumulate grad = 0;
    if (has_channel) {
      grad = static_cast<accumulate>(grad_out[v * encoder.channels + channel]) /
             static_cast<accumulate>(last - first);
    }
    for (int32_t e = first; e < last; ++e) {
      __syncwarp();  // everybody is done with the point before
      describe(voxels, e, origins, lane, padded, features);
      __syncwarp();
      if (!has_channel) continue;
      auto value = static_cast<accumulate>(encoder.bias[channel]);
      for (int64_t f = 0; f < num_features; ++f) {
        value += static_cast<accumulate>(features[f]) *
                 static_cast<accumulate>(encoder.weight[f * encoder.channels + channel]);
      }
      const accumulate slope = value > 0 ? accumulate(1) : encoder.negative_slope;
#pragma unroll
      for (int f = 0; f < kFeatures; ++f) {
        sums[f] += grad * slope * static_cast<accumulate>(features[first_feature + f]);
      }
    }
  }
#pragma unroll
  for (int f = 0; f < kFeatures; ++f) warp_sums[warp][f][lane] = sums[f];
  __syncthreads();
  for (int f = warp; f < kFeatures && first_feature + f <= num_features; f += kWarps) {
    accumulate sum = 0;
    for (int w = 0; w < kWarps; ++w) sum += warp_sums[w][f][lane];
    const int64_t row = blockIdx.x * (num_features + 1) + first_feature + f;
    if (has_channel) partials[row * encoder.channels + channel] = sum;
  }
}

// A warp adds up one number of all shares.
template <typename T>
__global__ void sum_kernel(const accumulate_t<T>* __restrict__ partials, int64_t num_partials,
                           int64_t size, int64_t size_of_weight, T* __restrict__ grad_weight,
                           T* __restrict__ grad_bias) {
  const int64_t i = global_thread() / kWarpSize;
  if (i >= size) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  accumulate_t<T> sum = 0;
  for (int64_t p = lane; p < num_partials; p += kWarpSize) sum += partials[p * size + i];
  for (int step = kWarpSize / 2; step > 0; step /= 2) {
    sum += __shfl_xor_sync(0xffffffffu, sum, step);
  }
  if (lane != 0) return;
  *(i < size_of_weight ? grad_weight + i : grad_bias + i - size_of_weight) = static_cast<T>(sum);
}

}  // namespace

template <typename T>
size_t encode_voxels_backward_workspace_bytes(const VoxelPoints& voxels, int64_t channels) {
  return num_shares(voxels) * num_rows_of(voxels) * channels * sizeof(accumulate_t<T>);
}

template <typename T>
cudaError_t encode_voxels_backward(const VoxelPoints& voxels,
                                   const VoxelEncoder<T, accumulate_t<T>>& encoder,
                                   const T* grad_out, void* workspace, T* grad_weight, T* grad_bias,
                                   cudaStream_t stream) {
  if (encoder.channels == 0) return cudaSuccess;
  auto* partials = static_cast<accumulate_t<T>*>(workspace);
  const int64_t shares = num_shares(voxels), rows = num_rows_of(voxels);
  if (shares > 0) {
    const size_t bytes = padded_rows(voxels.num_features()) * kWarps * sizeof(float);
    cudaLaunchConfig_t config = launch_config(shares, kWarps * kWarpSize, stream, bytes);
    config.gridDim.y = static_cast<unsigned>(tiles(encoder.channels, kWarpSize));
    config.gridDim.z = static_cast<unsigned>(tiles(rows, kFeatures));
    ELITE_CUDA_TRY(
        cudaLaunchKernelEx(&config, partial_kernel<T>, voxels, encoder, grad_out, partials));
  }
  const int64_t size = rows * encoder.channels;
  const cudaLaunchConfig_t config = one_thread_per(size * kWarpSize, stream);
  return cudaLaunchKernelEx(&config, sum_kernel<T>, static_cast<const accumulate_t<T>*>(partials),
                            shares, size, size - encoder.channels, grad_weight, grad_bias);
}

#define INSTANTIATE(T)                                                                    \
  template size_t encode_voxels_backward_workspace_bytes<T>(const VoxelPoints&, int64_t); \
  template cudaError_t encode_voxels_backward<T>(const VoxelPoints&,                      \
                                                 const VoxelEncoder<T, accumulate_t<T>>&, \
                                                 const T*, void*, T*, T*, cudaStream_t)
INSTANTIATE(float);
INSTANTIATE(double);
INSTANTIATE(__half);
INSTANTIATE(__nv_bfloat16);
#undef INSTANTIATE

}  // namespace elite_ops::cuda
