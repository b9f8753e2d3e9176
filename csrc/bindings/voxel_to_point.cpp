#include "cpu/voxel_to_point.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "check_segments.h"
#include "compute_type.h"

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
  at::Tensor out = at::empty({inverse.size(0), features.size(1)}, features.options());
  AT_DISPATCH_FLOATING_TYPES(features.scalar_type(), kOp, [&] {
    cpu::voxel_to_point(features.const_data_ptr<scalar_t>(), inverse.const_data_ptr<int32_t>(),
                        inverse.size(0), features.size(0), features.size(1),
                        out.mutable_data_ptr<scalar_t>());
  });
  return out.to(features_.scalar_type());
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(elite_ops, m) {
  m.def("voxel_to_point(Tensor features, Tensor inverse, Tensor order, Tensor offsets) -> Tensor");
}
TORCH_LIBRARY_IMPL(elite_ops, CPU, m) { m.impl("voxel_to_point", &voxel_to_point_cpu); }

}  // namespace elite_ops
