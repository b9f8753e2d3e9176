#include <cmath>

#include "common/error_flag.h"
#include "cuda/block_sum.cuh"
#include "cuda/distillation_loss.h"
#include "cuda/launch.cuh"
#include "cuda/workspace.cuh"

namespace elite_ops::cuda {
namespace {

constexpr int kWarpSize = 32;
constexpr unsigned kWholeWarp = 0xffffffffu;

// Lanes that share out the classes of one point. Few classes leave a whole warp idle.
constexpr int kFewLanes = 8;
constexpr int64_t kFewClasses = 32;

// Every lane of a group gets the same bits: the butterfly adds the same pairs on both sides.
template <int lanes, typename T>
__device__ __forceinline__ T group_sum(T value) {
  for (int offset = lanes / 2; offset > 0; offset /= 2) {
    value += __shfl_xor_sync(kWholeWarp, value, offset);
  }
  return value;
}

template <int lanes, typename T>
__device__ __forceinline__ T group_max(T value) {
  for (int offset = lanes / 2; offset > 0; offset /= 2) {
    const T other = __shfl_xor_sync(kWholeWarp, value, offset);
    value = other > value ? other : value;
  }
  return value;
}

// The logits of one row over the temperature, less their maximum, as seen by a group of lanes. All
// lanes of a warp make and use their rows together; a group without a row has no classes.
template <typename scalar_t, int lanes>
struct Row {
  using accumulate = accumulate_t<scalar_t>;
  const scalar_t* logits;
  accumulate max, temperature;

  __device__ __forceinline__ Row(const scalar_t* row, int64_t num_classes, accumulate temperature_,
                                 int lane)
      : logits(row), max(-INFINITY), temperature(temperature_) {
    for (int64_t c = lane; c < num_classes; c += lanes) {
      const auto logit = static_cast<accumulate>(logits[c]);
      max = logit > max ? logit : max;
    }
    max = group_max<lanes>(max);
  }

  __device__ __forceinline__ accumulate operator[](int64_t c) const {
    return (static_cast<accumulate>(logits[c]) - max) / temperature;
  }

  __device__ __forceinline__ accumulate sum_of_exponentials(int64_t num_classes, int lane) const {
    accumulate sum = 0;
    for (int64_t c = lane; c < num_classes; c += lanes) sum += std::exp((*this)[c]);
    return group_sum<lanes>(sum);
  }
};

// KL(p || q) = sum_c p_c (a_c - b_c) - log(sum exp a) + log(sum exp b), with the teacher's row a
// and the student's b. A class that the teacher gives no mass contributes nothing, whatever the
// student says.
template <typename scalar_t, int lanes>
__device__ __forceinline__ accumulate_t<scalar_t> divergence(const Row<scalar_t, lanes>& teacher,
                                                             const Row<scalar_t, lanes>& student,
                                                             int64_t num_classes, int lane) {
  using accumulate = accumulate_t<scalar_t>;
  accumulate teacher_sum = 0, student_sum = 0, cross = 0;
  for (int64_t c = lane; c < num_classes; c += lanes) {
    const accumulate a = teacher[c], b = student[c], mass = std::exp(a);
    teacher_sum += mass;
    student_sum += std::exp(b);
    cross += mass > accumulate(0) ? mass * (a - b) : accumulate(0);
  }
  teacher_sum = group_sum<lanes>(teacher_sum);
  student_sum = group_sum<lanes>(student_sum);
  return group_sum<lanes>(cross) / teacher_sum - std::log(teacher_sum) + std::log(student_sum);
}

// What each block adds up, its points in a fixed order.
template <typename accumulate>
struct Partials {
  accumulate* sums;
  int32_t* counts;
};

int64_t num_blocks(int64_t num_points, int lanes) {
  const int64_t points_per_block = kThreadsPerBlock / lanes;
  return (num_points + points_per_block - 1) / points_per_block;
}

template <typename accumulate>
Partials<accumulate> take_partials(Workspace& workspace, int64_t num_points) {
  const int64_t blocks = num_blocks(num_points, kWarpSize);
  return {workspace.take<accumulate>(blocks), workspace.take<int32_t>(blocks)};
}

// A group per point.
template <typename scalar_t, int lanes>
__global__ void sum_points_kernel(Distillation<scalar_t> in,
                                  Partials<accumulate_t<scalar_t>> partials,
                                  int32_t* __restrict__ error_flag) {
  using accumulate = accumulate_t<scalar_t>;
  const int lane = threadIdx.x % lanes;
  const int64_t p = global_thread() / lanes;
  int64_t row = -1;
  if (p < in.num_points) row = in.index != nullptr ? in.index[p] : p;
  if (row < -1 || row >= in.num_rows) {
    if (lane == 0) atomicOr(error_flag, kIndexOutOfRange);
    row = -1;
  }
  accumulate weight = 0;
  if (row >= 0) weight = in.weight != nullptr ? in.weight[p] : accumulate(1);
  // A weight of 0 leaves the point out, even where the divergence is infinite.
  const bool counts = weight != accumulate(0);
  const int64_t num_classes = counts ? in.num_classes : 0;
  const Row<scalar_t, lanes> teacher(in.teacher + (counts ? p * num_classes : 0), num_classes,
                                     in.temperature, lane);
  const Row<scalar_t, lanes> student(in.student + (counts ? row * num_classes : 0), num_classes,
                                     in.temperature, lane);
  const accumulate term = weight * divergence(teacher, student, num_classes, lane);
  const accumulate sum = block_sum(lane == 0 && counts ? term : accumulate(0));
  const int32_t count = block_sum<int32_t>(lane == 0 && row >= 0);
  if (threadIdx.x == 0) {
    partials.sums[blockIdx.x] = sum;
    partials.counts[blockIdx.x] = count;
  }
}

// One block: the partial sums in a fixed order.
template <typename accumulate>
__global__ void sum_partials_kernel(Partials<accumulate> partials, int64_t num_partials,
                                    int64_t terms_per_point, accumulate* __restrict__ loss,
                                    accumulate* __restrict__ scale) {
  accumulate sum = 0;
  int32_t count = 0;
  for (int64_t i = threadIdx.x; i < num_partials; i += blockDim.x) {
    sum += partials.sums[i];
    count += partials.counts[i];
  }
  sum = block_sum(sum);
  count = block_sum(count);
  if (threadIdx.x != 0) return;
  const int64_t terms = terms_per_point * count;
  *scale = terms > 0 ? accumulate(1) / static_cast<accumulate>(terms) : accumulate(1);
  *loss = sum * *scale;
}

// A warp per student row; its groups take turns at the row's points, and are added up at the end.
template <typename scalar_t, int lanes>
__global__ void gradient_kernel(Distillation<scalar_t> in,
                                const accumulate_t<scalar_t>* __restrict__ grad_loss,
                                const accumulate_t<scalar_t>* __restrict__ scale,
                                const int32_t* __restrict__ order,
                                const int32_t* __restrict__ offsets,
                                scalar_t* __restrict__ grad_student) {
  using accumulate = accumulate_t<scalar_t>;
  constexpr int kGroups = kWarpSize / lanes;
  constexpr int kLaneClasses = lanes == kFewLanes ? kFewClasses / kFewLanes : 8;
  const int64_t row = global_thread() / kWarpSize;
  if (row >= in.num_rows) return;
  const int lane = threadIdx.x % lanes, group = threadIdx.x % kWarpSize / lanes;
  const int64_t begin = offsets != nullptr ? offsets[row] : row;
  const int64_t end = offsets != nullptr ? offsets[row + 1] : row + 1;
  const int64_t student_classes = begin < end ? in.num_classes : 0;  // spares an empty row the work
  const accumulate factor = *grad_loss * *scale / in.temperature;
  const Row<scalar_t, lanes> student(in.student + row * in.num_classes, student_classes,
                                     in.temperature, lane);
  const accumulate student_sum = student.sum_of_exponentials(student_classes, lane);
  for (int64_t base = 0; base < in.num_classes; base += lanes * kLaneClasses) {
    accumulate sums[kLaneClasses] = {};
    for (int64_t e = begin; e < end; e += kGroups) {
      const int64_t p = e + group < end ? (order != nullptr ? order[e + group] : e + group) : -1;
      accumulate weight = 0;
      if (p >= 0) weight = in.weight != nullptr ? in.weight[p] : accumulate(1);
      const bool counts = weight != accumulate(0);
      const int64_t num_classes = counts ? in.num_classes : 0;
      const Row<scalar_t, lanes> teacher(in.teacher + (counts ? p * num_classes : 0), num_classes,
                                         in.temperature, lane);
      const accumulate teacher_sum = teacher.sum_of_exponentials(num_classes, lane);
      for (int k = 0; k < kLaneClasses; ++k) {
        const int64_t c = base + k * lanes + lane;
        if (c < num_classes) {
          const accumulate q = std::exp(student[c]) / student_sum;
          sums[k] += weight * factor * (q - std::exp(teacher[c]) / teacher_sum);
        }
      }
    }
    for (int k = 0; k < kLaneClasses; ++k) {
      for (int offset = lanes; offset < kWarpSize; offset *= 2) {
        sums[k] += __shfl_xor_sync(kWholeWarp, sums[k], offset);
      }
      const int64_t c = base + k * lanes + lane;
      if (group == 0 && c < in.num_classes) {
        grad_student[row * in.num_classes + c] = static_cast<scalar_t>(sums[k]);
      }
    }
  }
}

template <typename scalar_t, int lanes>
cudaError_t launch_loss(const Distillation<scalar_t>& in, int64_t terms_per_point,
                        accumulate_t<scalar_t>* loss, accumulate_t<scalar_t>* scale,
                        const Partials<accumulate_t<scalar_t>>& partials, int32_t* error_flag,
                        cudaStream_t stream) {
  const int64_t blocks = num_blocks(in.num_points, lanes);
  const cudaLaunchConfig_t points = launch_config(blocks, kThreadsPerBlock, stream);
  ELITE_CUDA_TRY(
      cudaLaunchKernelEx(&points, sum_points_kernel<scalar_t, lanes>, in, partials, error_flag));
  const cudaLaunchConfig_t total = launch_config(1, kThreadsPerBlock, stream);
  return cudaLaunchKernelEx(&total, sum_partials_kernel<accumulate_t<scalar_t>>, partials, blocks,
                            terms_per_point, loss, scale);
}

}  // namespace

size_t distillation_loss_workspace_bytes(int64_t num_points) {
  Workspace workspace(nullptr);
  take_partials<double>(workspace, num_points);
  return workspace.bytes();
}

template <typename scalar_t>
cudaError_t distillation_loss(const Distillation<scalar_t>& in, int64_t terms_per_point,
                              accumulate_t<scalar_t>* loss, accumulate_t<scalar_t>* scale,
                              void* workspace_, int32_t* error_flag, cudaStream_t stream) {
  if (in.num_points == 0) return cudaSuccess;
  Workspace workspace(workspace_);
  const auto partials = take_partials<accumulate_t<scalar_t>>(workspace, in.num_points);
  const auto launch = in.num_classes <= kFewClasses ? launch_loss<scalar_t, kFewLanes>
                                                    : launch_loss<scalar_t, kWarpSize>;
  return launch(in, terms_per_point, loss, scale, partials, error_flag, stream);
}

template <typename scalar_t>
cudaError_t distillation_loss_backward(const Distillation<scalar_t>& in,
                                       const accumulate_t<scalar_t>* grad_loss,
                                       const accumulate_t<scalar_t>* scale, const int32_t* order,
                                       const int32_t* offsets, scalar_t* grad_student,
                                       cudaStream_t stream) {
  if (in.num_rows == 0) return cudaSuccess;
  const cudaLaunchConfig_t config = one_thread_per(in.num_rows * kWarpSize, stream);
  const auto kernel = in.num_classes <= kFewClasses ? gradient_kernel<scalar_t, kFewLanes>
                                                    : gradient_kernel<scalar_t, kWarpSize>;
  return cudaLaunchKernelEx(&config, kernel, in, grad_loss, scale, order, offsets, grad_student);
}

#define ELITE_INSTANTIATE(scalar_t)                                                                \
  template cudaError_t distillation_loss<scalar_t>(                                                \
      const Distillation<scalar_t>&, int64_t, accumulate_t<scalar_t>*, accumulate_t<scalar_t>*,    \
      void*, int32_t*, cudaStream_t);                                                              \
  template cudaError_t distillation_loss_backward<scalar_t>(                                       \
      const Distillation<scalar_t>&, const accumulate_t<scalar_t>*, const accumulate_t<scalar_t>*, \
      const int32_t*, const int32_t*, scalar_t*, cudaStream_t);
ELITE_INSTANTIATE(float)
ELITE_INSTANTIATE(double)
ELITE_INSTANTIATE(__half)
ELITE_INSTANTIATE(__nv_bfloat16)
#undef ELITE_INSTANTIATE

}  // namespace elite_ops::cuda
