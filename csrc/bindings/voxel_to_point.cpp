#include "cpu/voxel_to_point.h"

#include "compute_type.h"
#include "empty.h"
#include "op.h"
#include "segments.h"
#ifdef ELITE_WITH_CUDA
#include "cuda/voxel_to_point.h"
#endif

namespace elite_ops {
namespace {

struct VoxelToPoint {
  static constexpr auto kName = "voxel_to_point";

  at::Tensor features;  // [M, C]
  at::Tensor inverse;   // [N]

  // `order` and `offsets` are what the gradient needs.
  static VoxelToPoint check(const at::Tensor& features, const at::Tensor& inverse,
                            const at::Tensor& order, const at::Tensor& offsets) {
    check_dim(kName, "features", features, 2);
    check_floating(kName, "features", features);
    check_segments(kName, inverse, order, offsets, "features", features);
    check_size(kName, "features", features, 0, offsets.size(0) - 1);
    return {features.contiguous(), inverse.contiguous()};
  }

  at::Tensor run_cpu() const {
    const at::Tensor computed = as_computed(features);
    at::Tensor out = empty({inverse.size(0), features.size(1)}, computed.options());
    dispatch_cpu(features.scalar_type(), [&](auto number) {
      using T = decltype(number);
      cpu::voxel_to_point(data<T>(computed), data<int32_t>(inverse), inverse.size(0),
                          features.size(0), features.size(1), mutable_data<T>(out));
    });
    return out.to(features.scalar_type());
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    at::Tensor out = empty({inverse.size(0), features.size(1)}, features.options());
    dispatch_cuda(features.scalar_type(), [&](auto number) {
      using T = decltype(number);
      C10_CUDA_CHECK(cuda::voxel_to_point(data<T>(features), data<int32_t>(inverse),
                                          inverse.size(0), features.size(0), features.size(1),
                                          mutable_data<T>(out), c10::cuda::getCurrentCUDAStream()));
    });
    return out;
  }
#endif
};

}  // namespace

ELITE_OP(VoxelToPoint,
         "voxel_to_point(Tensor features, Tensor inverse, Tensor order, Tensor offsets) -> Tensor");

}  // namespace elite_ops
