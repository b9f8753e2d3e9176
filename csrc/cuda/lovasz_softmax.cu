#include <algorithm>
#include <bit>
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>

#include "common/error_flag.h"
#include "common/ignore_label.h"
#include "cuda/block_sum.cuh"
#include "cuda/launch.cuh"
#include "cuda/lovasz_softmax.h"
#include "cuda/workspace.cuh"

// An item is a (class, point) pair with the number class * N + point, below 2^31. All items are
// sorted by class, then by falling error, in two stable sorts, the minor key first. Every class
// then has N places, with the rows that are left out at the end, and the place of an item and the
// number of foreground points up to it give its share of the loss.
namespace elite_ops::cuda {
namespace {

// An error as an unsigned integer that rises while the error falls from 1 to 0. The error of a row
// that is left out is -1, whose key comes after those of all errors.
constexpr int kLeftOut = -1;

__device__ __forceinline__ uint32_t key_of(float error) {
  return __float_as_uint(1.f) - __float_as_uint(error);
}
__device__ __forceinline__ uint64_t key_of(double error) {
  return static_cast<uint64_t>(__double_as_longlong(1.)) -
         static_cast<uint64_t>(__double_as_longlong(error));
}
__device__ __forceinline__ float error_of(uint32_t key) {
  return __uint_as_float(__float_as_uint(1.f) - key);
}
__device__ __forceinline__ double error_of(uint64_t key) {
  return __longlong_as_double(
      static_cast<long long>(static_cast<uint64_t>(__double_as_longlong(1.)) - key));
}

template <typename accumulate>
using key_t = std::conditional_t<sizeof(accumulate) == 4, uint32_t, uint64_t>;

// softmax of one row, class by class.
template <typename scalar_t>
class Softmax {
  using accumulate = accumulate_t<scalar_t>;

 public:
  __device__ Softmax(const scalar_t* logits, int64_t num_classes) : logits_(logits) {
    largest_ = static_cast<accumulate>(logits[0]);
    for (int64_t c = 1; c < num_classes; ++c) {
      const auto logit = static_cast<accumulate>(logits[c]);
      if (logit > largest_) largest_ = logit;
    }
    for (int64_t c = 0; c < num_classes; ++c) sum_ += exponential(c);
  }

  __device__ accumulate operator()(int64_t c) const { return exponential(c) / sum_; }

 private:
  __device__ accumulate exponential(int64_t c) const {
    return exp(static_cast<accumulate>(logits_[c]) - largest_);
  }

  const scalar_t* logits_;
  accumulate largest_;
  accumulate sum_ = 0;
};

template <typename scalar_t>
__global__ void errors_kernel(const scalar_t* __restrict__ logits,
                              const int64_t* __restrict__ labels, int64_t num_points,
                              int64_t num_classes, int64_t ignore_label,
                              key_t<accumulate_t<scalar_t>>* __restrict__ keys,
                              uint32_t* __restrict__ items, int32_t* __restrict__ error_flag) {
  using accumulate = accumulate_t<scalar_t>;
  const int64_t row = global_thread();
  if (row >= num_points) return;
  const int64_t label = labels[row];
  const bool is_ignored = label == ignore_label && ignore_label != kNoIgnoreLabel;
  const bool is_class = label >= 0 && label < num_classes;
  if (!is_ignored && !is_class) atomicOr(error_flag, kLabelOutOfRange);

  const Softmax<scalar_t> probability(logits + row * num_classes, num_classes);
  for (int64_t c = 0; c < num_classes; ++c) {
    accumulate error = kLeftOut;
    if (is_class && !is_ignored) error = c == label ? 1 - probability(c) : probability(c);
    const int64_t item = c * num_points + row;
    keys[item] = key_of(error);
    items[item] = static_cast<uint32_t>(item);
  }
}

__global__ void classes_kernel(const uint32_t* __restrict__ items, uint32_t num_points,
                               uint32_t num_items, uint32_t* __restrict__ classes) {
  const int64_t i = global_thread();
  if (i < num_items) classes[i] = items[i] / num_points;
}

// Whether the item at each place is a foreground point of its class.
template <typename accumulate>
__global__ void foreground_kernel(const uint32_t* __restrict__ items,
                                  const key_t<accumulate>* __restrict__ keys,
                                  const int64_t* __restrict__ labels, uint32_t num_points,
                                  uint32_t num_items, int32_t* __restrict__ foreground) {
  const int64_t place = global_thread();
  if (place >= num_items) return;
  const uint32_t item = items[place];
  const bool is_left_out = error_of(keys[item]) < 0;
  foreground[place] = labels[item % num_points] == item / num_points && !is_left_out;
}

// How many foreground points stand in the places [0, place).
__device__ __forceinline__ int32_t count_before(const int32_t* __restrict__ cumulative,
                                                int64_t place) {
  return place == 0 ? 0 : cumulative[place - 1];
}

// One over the number of classes that count; 0 when no point is labelled. One block.
template <typename accumulate>
__global__ void scale_kernel(const int32_t* __restrict__ cumulative, int64_t num_points,
                             int64_t num_classes, bool only_present, accumulate* scale) {
  int32_t count = 0;
  for (int64_t c = threadIdx.x; c < num_classes; c += blockDim.x) {
    const int32_t foreground =
        count_before(cumulative, (c + 1) * num_points) - count_before(cumulative, c * num_points);
    count += !only_present || foreground > 0;
  }
  count = block_sum(count);
  if (threadIdx.x != 0) return;
  const bool is_any_labelled = cumulative[num_classes * num_points - 1] > 0;
  *scale = is_any_labelled ? accumulate(1) / static_cast<accumulate>(count) : accumulate(0);
}

// By how much the Jaccard loss of the class of `place` grows there. With F foreground points, f of
// which and b background points are mispredicted, it is 1 - (F - f) / (F + b); the growth is
// written without the difference of two such terms.
template <typename accumulate>
__device__ accumulate jaccard_growth(const int32_t* __restrict__ cumulative, uint32_t place,
                                     uint32_t num_points, bool only_present, bool is_foreground) {
  const uint32_t begin = place / num_points * num_points;
  const int32_t before = count_before(cumulative, begin);
  const int32_t total = cumulative[begin + num_points - 1] - before;
  if (total == 0) return static_cast<accumulate>(place == begin && !only_present);
  const int32_t missed = cumulative[place] - before;
  const int64_t invented = int64_t{place} - begin + 1 - missed;
  const auto united = static_cast<accumulate>(total + invented);
  if (is_foreground) return 1 / united;
  return static_cast<accumulate>(total - missed) /
         (united * static_cast<accumulate>(total + invented - 1));
}

template <typename accumulate>
__global__ void jaccard_kernel(const uint32_t* __restrict__ items,
                               const key_t<accumulate>* __restrict__ keys,
                               const int32_t* __restrict__ cumulative,
                               const accumulate* __restrict__ scale, uint32_t num_points,
                               uint32_t num_items, bool only_present,
                               accumulate* __restrict__ grad_probabilities,
                               accumulate* __restrict__ partial_sums) {
  const int64_t place = global_thread();
  accumulate share = 0;
  if (place < num_items) {
    const uint32_t item = items[place];
    const accumulate error = error_of(keys[item]);
    accumulate gradient = 0;
    if (!(error < 0)) {
      const bool is_foreground = cumulative[place] > count_before(cumulative, place);
      const accumulate growth =
          *scale * jaccard_growth<accumulate>(cumulative, static_cast<uint32_t>(place), num_points,
                                              only_present, is_foreground);
      share = growth * error;
      gradient = is_foreground ? -growth : growth;
    }
    grad_probabilities[item] = gradient;
  }
  const accumulate sum = block_sum(share);
  if (threadIdx.x == 0) partial_sums[blockIdx.x] = sum;
}

// One block.
template <typename accumulate>
__global__ void sum_kernel(const accumulate* __restrict__ values, int64_t count, accumulate* sum) {
  accumulate mine = 0;
  for (int64_t i = threadIdx.x; i < count; i += blockDim.x) mine += values[i];
  const accumulate all = block_sum(mine);
  if (threadIdx.x == 0) *sum = all;
}

template <typename scalar_t>
__global__ void backward_kernel(const accumulate_t<scalar_t>* __restrict__ grad_out,
                                const scalar_t* __restrict__ logits,
                                const accumulate_t<scalar_t>* __restrict__ grad_probabilities,
                                int64_t num_points, int64_t num_classes,
                                scalar_t* __restrict__ grad_logits) {
  using accumulate = accumulate_t<scalar_t>;
  const int64_t row = global_thread();
  if (row >= num_points) return;
  const auto gradient = [&](int64_t c) { return grad_probabilities[c * num_points + row]; };
  const Softmax<scalar_t> probability(logits + row * num_classes, num_classes);
  bool is_zero = true;
  accumulate mean = 0;
  for (int64_t c = 0; c < num_classes; ++c) {
    is_zero &= gradient(c) == 0;
    mean += probability(c) * gradient(c);
  }
  for (int64_t c = 0; c < num_classes; ++c) {
    accumulate value = 0;  // of a row that is left out, whatever its logits
    if (!is_zero) value = *grad_out * probability(c) * (gradient(c) - mean);
    grad_logits[row * num_classes + c] = static_cast<scalar_t>(value);
  }
}

int64_t num_blocks(int64_t items) { return (items + kThreadsPerBlock - 1) / kThreadsPerBlock; }

// The scratch arrays; those of one line are used one after the other.
template <typename accumulate>
struct Scratch {
  key_t<accumulate>* keys;         // [C * N] by item
  key_t<accumulate>* sorted_keys;  // [C * N] result of the first sort that nobody reads
  uint32_t* classes;               //         class of each item in the order of errors
  uint32_t* items;                 // [C * N] item numbers; item at each place
  uint32_t* items_by_error;        // [C * N]
  uint32_t* sorted_classes;        // [C * N] result of the second sort that nobody reads
  int32_t* cumulative;             //         number of foreground points up to each place
  accumulate* partial_sums;        // [blocks]
  accumulate* scale;               // [1]
  void* cub;
  size_t cub_bytes;

  Scratch(Workspace& workspace, int64_t num_points, int64_t num_classes) {
    const int64_t num_items = num_points * num_classes;
    keys = workspace.take<key_t<accumulate>>(num_items);
    sorted_keys = workspace.take<key_t<accumulate>>(num_items);
    classes = reinterpret_cast<uint32_t*>(sorted_keys);
    items = workspace.take<uint32_t>(num_items);
    items_by_error = workspace.take<uint32_t>(num_items);
    sorted_classes = workspace.take<uint32_t>(num_items);
    cumulative = reinterpret_cast<int32_t*>(sorted_classes);
    partial_sums = workspace.take<accumulate>(num_blocks(num_items));
    scale = workspace.take<accumulate>(1);
    cub_bytes = largest_cub_bytes(num_points, num_classes);
    cub = workspace.take<unsigned char>(static_cast<int64_t>(cub_bytes));
  }

  // Stable, so that equal errors stay in the order of the rows.
  cudaError_t sort_by_error(int64_t num_items, cudaStream_t stream) {
    return cub::DeviceRadixSort::SortPairs(cub, cub_bytes, keys, sorted_keys, items, items_by_error,
                                           static_cast<int>(num_items), 0,
                                           8 * static_cast<int>(sizeof(*keys)), stream);
  }
  cudaError_t sort_by_class(int64_t num_items, int64_t num_classes, cudaStream_t stream) {
    const int bits =
        std::max(1, static_cast<int>(std::bit_width(static_cast<uint64_t>(num_classes - 1))));
    return cub::DeviceRadixSort::SortPairs(cub, cub_bytes, classes, sorted_classes, items_by_error,
                                           items, static_cast<int>(num_items), 0, bits, stream);
  }
  cudaError_t count_foreground(int64_t num_items, cudaStream_t stream) {
    return cub::DeviceScan::InclusiveSum(cub, cub_bytes, cumulative, cumulative,
                                         static_cast<int>(num_items), stream);
  }

  // cub says how much it needs when it is called without scratch; what fails here fails again
  // later.
  size_t largest_cub_bytes(int64_t num_points, int64_t num_classes) {
    const int64_t num_items = num_points * num_classes;
    size_t largest = 0;
    const auto measure = [&](auto&& call) {
      cub_bytes = 0;
      static_cast<void>(call());
      largest = std::max(largest, cub_bytes);
    };
    cub = nullptr;
    measure([&] { return sort_by_error(num_items, nullptr); });
    measure([&] { return sort_by_class(num_items, num_classes, nullptr); });
    measure([&] { return count_foreground(num_items, nullptr); });
    return largest;
  }
};

}  // namespace

template <typename scalar_t>
size_t lovasz_softmax_workspace_bytes(int64_t num_points, int64_t num_classes) {
  Workspace workspace(nullptr);
  const Scratch<accumulate_t<scalar_t>> scratch(workspace, num_points, num_classes);
  return workspace.bytes();
}

template <typename scalar_t>
cudaError_t lovasz_softmax(const scalar_t* logits, const int64_t* labels, int64_t num_points,
                           int64_t num_classes, int64_t ignore_label, bool only_present,
                           void* workspace, accumulate_t<scalar_t>* loss,
                           accumulate_t<scalar_t>* grad_probabilities, int32_t* error_flag,
                           cudaStream_t stream) {
  using accumulate = accumulate_t<scalar_t>;
  const int64_t num_items = num_points * num_classes;
  if (num_items == 0) return cudaSuccess;
  Workspace cutter(workspace);
  Scratch<accumulate> scratch(cutter, num_points, num_classes);
  const cudaLaunchConfig_t per_point = one_thread_per(num_points, stream);
  const cudaLaunchConfig_t per_item = one_thread_per(num_items, stream);
  const cudaLaunchConfig_t one_block = launch_config(1, kThreadsPerBlock, stream);

  ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_point, errors_kernel<scalar_t>, logits, labels, num_points,
                                    num_classes, ignore_label, scratch.keys, scratch.items,
                                    error_flag));
  ELITE_CUDA_TRY(scratch.sort_by_error(num_items, stream));
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_item, classes_kernel, scratch.items_by_error, num_points,
                                    num_items, scratch.classes));
  ELITE_CUDA_TRY(scratch.sort_by_class(num_items, num_classes, stream));
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_item, foreground_kernel<accumulate>, scratch.items,
                                    scratch.keys, labels, num_points, num_items,
                                    scratch.cumulative));
  ELITE_CUDA_TRY(scratch.count_foreground(num_items, stream));
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&one_block, scale_kernel<accumulate>, scratch.cumulative,
                                    num_points, num_classes, only_present, scratch.scale));
  ELITE_CUDA_TRY(cudaLaunchKernelEx(&per_item, jaccard_kernel<accumulate>, scratch.items,
                                    scratch.keys, scratch.cumulative, scratch.scale, num_points,
                                    num_items, only_present, grad_probabilities,
                                    scratch.partial_sums));
  return cudaLaunchKernelEx(&one_block, sum_kernel<accumulate>, scratch.partial_sums,
                            num_blocks(num_items), loss);
}

template <typename scalar_t>
cudaError_t lovasz_softmax_backward(const accumulate_t<scalar_t>* grad_out, const scalar_t* logits,
                                    const accumulate_t<scalar_t>* grad_probabilities,
                                    int64_t num_points, int64_t num_classes, scalar_t* grad_logits,
                                    cudaStream_t stream) {
  if (num_points * num_classes == 0) return cudaSuccess;
  const cudaLaunchConfig_t per_point = one_thread_per(num_points, stream);
  return cudaLaunchKernelEx(&per_point, backward_kernel<scalar_t>, grad_out, logits,
                            grad_probabilities, num_points, num_classes, grad_logits);
}

#define INSTANTIATE(scalar_t)                                                                     \
  template size_t lovasz_softmax_workspace_bytes<scalar_t>(int64_t, int64_t);                     \
  template cudaError_t lovasz_softmax(const scalar_t*, const int64_t*, int64_t, int64_t, int64_t, \
                                      bool, void*, accumulate_t<scalar_t>*,                       \
                                      accumulate_t<scalar_t>*, int32_t*, cudaStream_t);           \
  template cudaError_t lovasz_softmax_backward(const accumulate_t<scalar_t>*, const scalar_t*,    \
                                               const accumulate_t<scalar_t>*, int64_t, int64_t,   \
                                               scalar_t*, cudaStream_t);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(__half)
INSTANTIATE(__nv_bfloat16)
#undef INSTANTIATE

}  // namespace elite_ops::cuda
