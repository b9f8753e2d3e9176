#include "cpu/segments.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <tuple>

#include "check.h"
#ifdef ELITE_WITH_CUDA
#include "cuda.h"
#include "cuda/segments.h"
#endif

namespace elite_ops {
namespace {

constexpr const char* kOp = "build_segments";

void check(const at::Tensor& inverse, int64_t num_segments) {
  check_dim(kOp, "inverse", inverse, 1);
  check_dtype(kOp, "inverse", inverse, at::kInt);
  check_row_count(kOp, "inverse", inverse.size(0));
  TORCH_CHECK_VALUE(num_segments >= 0 && num_segments < std::numeric_limits<int32_t>::max(), kOp,
                    ": `num_segments` must be in [0, 2^31 - 1), got ", num_segments);
}

std::tuple<at::Tensor, at::Tensor> build_segments_cpu(const at::Tensor& inverse_,
                                                      int64_t num_segments) {
  check(inverse_, num_segments);
  const at::Tensor inverse = inverse_.contiguous();
  at::Tensor order = at::empty_like(inverse);
  at::Tensor offsets = at::empty({num_segments + 1}, inverse.options());
  const int32_t* data = inverse.const_data_ptr<int32_t>();
  const int64_t bad =
      cpu::build_segments(data, inverse.size(0), num_segments, order.mutable_data_ptr<int32_t>(),
                          offsets.mutable_data_ptr<int32_t>());
  TORCH_CHECK_INDEX(bad < 0, kOp, ": `inverse` must be in [-1, ", num_segments, "), got ",
                    data[bad], " for point ", bad);
  return {order, offsets};
}

#ifdef ELITE_WITH_CUDA

std::tuple<at::Tensor, at::Tensor> build_segments_cuda(const at::Tensor& inverse_,
                                                       int64_t num_segments) {
  check(inverse_, num_segments);
  const c10::cuda::CUDAGuard guard(inverse_.device());
  const at::Tensor inverse = inverse_.contiguous();
  at::Tensor order = at::empty_like(inverse);
  at::Tensor offsets = at::empty({num_segments + 1}, inverse.options());
  const size_t bytes = cuda::build_segments_workspace_bytes(inverse.size(0));
  at::Tensor workspace =
      at::empty({static_cast<int64_t>(bytes)}, inverse.options().dtype(at::kByte));
  C10_CUDA_CHECK(cuda::build_segments(
      inverse.const_data_ptr<int32_t>(), inverse.size(0), num_segments,
      workspace.mutable_data_ptr<uint8_t>(), order.mutable_data_ptr<int32_t>(),
      offsets.mutable_data_ptr<int32_t>(), device_error_flag(), c10::cuda::getCurrentCUDAStream()));
  return {order, offsets};
}

#endif

}  // namespace

TORCH_LIBRARY_FRAGMENT(elite_ops, m) {
  m.def("build_segments(Tensor inverse, SymInt num_segments) -> (Tensor order, Tensor offsets)");
}
TORCH_LIBRARY_IMPL(elite_ops, CPU, m) { m.impl("build_segments", &build_segments_cpu); }
#ifdef ELITE_WITH_CUDA
TORCH_LIBRARY_IMPL(elite_ops, CUDA, m) { m.impl("build_segments", &build_segments_cuda); }
#endif

}  // namespace elite_ops
