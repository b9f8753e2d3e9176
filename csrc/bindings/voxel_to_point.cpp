#include "cpu/voxel_to_point.h"

#include <ATen/Dispatch.h>
#include <torch/library.h>

#include "compute_type.h"
#include "empty.h"
#include "segments.h"
#ifdef ELITE_WITH_CUDA
#include "cuda.h"
#include "cuda/voxel_to_point.h"
#endif

namespace elite_ops {
namespace {

constexpr const char* kOp = "voxel_to_point";

void check(const at::Tensor& features, const at::Tensor& inverse, const at::Tensor& order,
           const at::Tensor& offsets) {
  check_dim(kOp, "features", features, 2);
  check_floating(kOp, "features", features);
  check_segments(kOp, inverse, order, offsets, "features", features);
  check_size(kOp, "features", features, 0, offsets.size(0) - 1);
}

at::Tensor voxel_to_point_cpu(const at::Tensor& features_, const at::Tensor& inverse_,
                              const at::Tensor& order, const at::Tensor& offsets) {
  check(features_, inverse_, order, offsets);
  const at::Tensor features = as_computed(features_);
  const at::Tensor inverse = inverse_.contiguous();
  at::Tensor out = empty({inverse.size(0), features.size(1)}, features.options());
  AT_DISPATCH_FLOATING_TYPES(features.scalar_type(), kOp, [&] {
    cpu::voxel_to_point(features.const_data_ptr<scalar_t>(), inverse.const_data_ptr<int32_t>(),
                        inverse.size(0), features.size(0), features.size(1),
                        out.mutable_data_ptr<scalar_t>());
  });
  return out.to(features_.scalar_type());
}

#ifdef ELITE_WITH_CUDA

at::Tensor voxel_to_point_cuda(const at::Tensor& features_, const at::Tensor& inverse_,
                               const at::Tensor& order, const at::Tensor& offsets) {
  check(features_, inverse_, order, offsets);
  const c10::cuda::CUDAGuard guard(features_.device());
  const at::Tensor features = features_.contiguous(), inverse = inverse_.contiguous();
  at::Tensor out = empty({inverse.size(0), features.size(1)}, features.options());
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, features.scalar_type(), kOp, [&] {
    C10_CUDA_CHECK(
        cuda::voxel_to_point(cuda_data<scalar_t>(features), inverse.const_data_ptr<int32_t>(),
                             inverse.size(0), features.size(0), features.size(1),
                             cuda_mutable_data<scalar_t>(out), c10::cuda::getCurrentCUDAStream()));
  });
  return out;
}

#endif

}  // namespace

TORCH_LIBRARY_FRAGMENT(elite_ops, m) {
  m.def("voxel_to_point(Tensor features, Tensor inverse, Tensor order, Tensor offsets) -> Tensor");
}
TORCH_LIBRARY_IMPL(elite_ops, CPU, m) { m.impl("voxel_to_point", &voxel_to_point_cpu); }
#ifdef ELITE_WITH_CUDA
TORCH_LIBRARY_IMPL(elite_ops, CUDA, m) { m.impl("voxel_to_point", &voxel_to_point_cuda); }
#endif

}  // namespace elite_ops
