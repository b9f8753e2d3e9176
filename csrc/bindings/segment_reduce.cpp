#include "cpu/segment_reduce.h"

#include <ATen/Dispatch.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

#include "compute_type.h"
#include "cpu/csr_reduce.h"
#include "empty.h"
#include "segments.h"
#ifdef ELITE_WITH_CUDA
#include "cuda.h"
#include "cuda/csr_reduce.h"
#include "cuda/segment_reduce.h"
#endif

namespace elite_ops {
namespace {

void check(const char* op, const at::Tensor& src, const at::Tensor& inverse,
           const at::Tensor& order, const at::Tensor& offsets) {
  check_dim(op, "src", src, 2);
  check_floating(op, "src", src);
  check_segments(op, inverse, order, offsets, "src", src);
  check_size(op, "src", src, 0, inverse.size(0));
}

void check_backward(const char* op, const at::Tensor& grad_out, const at::Tensor& inverse,
                    int64_t num_segments) {
  check_dim(op, "grad_out", grad_out, 2);
  check_floating(op, "grad_out", grad_out);
  check_size(op, "grad_out", grad_out, 0, num_segments);
  check_dim(op, "inverse", inverse, 1);
  check_dtype(op, "inverse", inverse, at::kInt);
}

at::Tensor segment_reduce_cpu(const char* op, const at::Tensor& src_, const at::Tensor& inverse,
                              const at::Tensor& order_, const at::Tensor& offsets_,
                              const std::optional<at::Tensor>& num_rows, bool mean) {
  check(op, src_, inverse, order_, offsets_);
  check_num_rows(op, num_rows, offsets_.size(0) - 1, "src", src_);
  const at::Tensor src = as_computed(src_);
  const at::Tensor order = order_.contiguous(), offsets = offsets_.contiguous();
  at::Tensor out = empty({offsets.size(0) - 1, src.size(1)}, src.options());
  AT_DISPATCH_FLOATING_TYPES(src.scalar_type(), "segment_reduce", [&] {
    cpu::csr_reduce(src.const_data_ptr<scalar_t>(), src.size(1),
                    as_csr(order, offsets, num_rows_data(num_rows)), mean,
                    out.mutable_data_ptr<scalar_t>());
  });
  return out.to(src_.scalar_type());
}

at::Tensor segment_sum_cpu(const at::Tensor& src, const at::Tensor& inverse,
                           const at::Tensor& order, const at::Tensor& offsets,
                           const std::optional<at::Tensor>& num_rows) {
  return segment_reduce_cpu("segment_sum", src, inverse, order, offsets, num_rows, false);
}

at::Tensor segment_mean_cpu(const at::Tensor& src, const at::Tensor& inverse,
                            const at::Tensor& order, const at::Tensor& offsets,
                            const std::optional<at::Tensor>& num_rows) {
  return segment_reduce_cpu("segment_mean", src, inverse, order, offsets, num_rows, true);
}

std::tuple<at::Tensor, at::Tensor> segment_max_cpu(const at::Tensor& src_,
                                                   const at::Tensor& inverse,
                                                   const at::Tensor& order_,
                                                   const at::Tensor& offsets_) {
  check("segment_max", src_, inverse, order_, offsets_);
  const at::Tensor src = as_computed(src_);
  const at::Tensor order = order_.contiguous(), offsets = offsets_.contiguous();
  at::Tensor out = empty({offsets.size(0) - 1, src.size(1)}, src.options());
  at::Tensor argmax = empty(out.sizes(), order.options());
  AT_DISPATCH_FLOATING_TYPES(src.scalar_type(), "segment_max", [&] {
    cpu::segment_max(src.const_data_ptr<scalar_t>(), src.size(1), as_csr(order, offsets),
                     out.mutable_data_ptr<scalar_t>(), argmax.mutable_data_ptr<int32_t>());
  });
  return {out.to(src_.scalar_type()), argmax};
}

at::Tensor segment_mean_backward_cpu(const at::Tensor& grad_out_, const at::Tensor& inverse_,
                                     const at::Tensor& order, const at::Tensor& offsets_) {
  constexpr const char* op = "segment_mean_backward";
  check_backward(op, grad_out_, inverse_, offsets_.size(0) - 1);
  check_segments(op, inverse_, order, offsets_, "grad_out", grad_out_);
  const at::Tensor grad_out = as_computed(grad_out_);
  const at::Tensor inverse = inverse_.contiguous(), offsets = offsets_.contiguous();
  at::Tensor grad_src = empty({inverse.size(0), grad_out.size(1)}, grad_out.options());
  AT_DISPATCH_FLOATING_TYPES(grad_out.scalar_type(), op, [&] {
    cpu::segment_mean_backward(grad_out.const_data_ptr<scalar_t>(),
                               inverse.const_data_ptr<int32_t>(), offsets.const_data_ptr<int32_t>(),
                               inverse.size(0), offsets.size(0) - 1, grad_out.size(1),
                               grad_src.mutable_data_ptr<scalar_t>());
  });
  return grad_src.to(grad_out_.scalar_type());
}

at::Tensor segment_max_backward_cpu(const at::Tensor& grad_out_, const at::Tensor& argmax_,
                                    const at::Tensor& inverse_) {
  constexpr const char* op = "segment_max_backward";
  check_backward(op, grad_out_, inverse_, argmax_.size(0));
  const at::Tensor grad_out = as_computed(grad_out_);
  const at::Tensor inverse = inverse_.contiguous(), argmax = argmax_.contiguous();
  at::Tensor grad_src = empty({inverse.size(0), grad_out.size(1)}, grad_out.options());
  AT_DISPATCH_FLOATING_TYPES(grad_out.scalar_type(), op, [&] {
    cpu::segment_max_backward(grad_out.const_data_ptr<scalar_t>(), argmax.const_data_ptr<int32_t>(),
                              inverse.const_data_ptr<int32_t>(), inverse.size(0), argmax.size(0),
                              grad_out.size(1), grad_src.mutable_data_ptr<scalar_t>());
  });
  return grad_src.to(grad_out_.scalar_type());
}

#ifdef ELITE_WITH_CUDA

at::Tensor segment_reduce_cuda(const char* op, const at::Tensor& src_, const at::Tensor& inverse,
                               const at::Tensor& order_, const at::Tensor& offsets_,
                               const std::optional<at::Tensor>& num_rows, bool mean) {
  check(op, src_, inverse, order_, offsets_);
  check_num_rows(op, num_rows, offsets_.size(0) - 1, "src", src_);
  const c10::cuda::CUDAGuard guard(src_.device());
  const at::Tensor src = src_.contiguous();
  const at::Tensor order = order_.contiguous(), offsets = offsets_.contiguous();
  at::Tensor out = empty({offsets.size(0) - 1, src.size(1)}, src.options());
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, src.scalar_type(), "segment_reduce", [&] {
        C10_CUDA_CHECK(cuda::csr_reduce(
            cuda_data<scalar_t>(src), src.size(1), as_csr(order, offsets, num_rows_data(num_rows)),
            mean, cuda_mutable_data<scalar_t>(out), c10::cuda::getCurrentCUDAStream()));
      });
  return out;
}

at::Tensor segment_sum_cuda(const at::Tensor& src, const at::Tensor& inverse,
                            const at::Tensor& order, const at::Tensor& offsets,
                            const std::optional<at::Tensor>& num_rows) {
  return segment_reduce_cuda("segment_sum", src, inverse, order, offsets, num_rows, false);
}

at::Tensor segment_mean_cuda(const at::Tensor& src, const at::Tensor& inverse,
                             const at::Tensor& order, const at::Tensor& offsets,
                             const std::optional<at::Tensor>& num_rows) {
  return segment_reduce_cuda("segment_mean", src, inverse, order, offsets, num_rows, true);
}

std::tuple<at::Tensor, at::Tensor> segment_max_cuda(const at::Tensor& src_,
                                                    const at::Tensor& inverse,
                                                    const at::Tensor& order_,
                                                    const at::Tensor& offsets_) {
  check("segment_max", src_, inverse, order_, offsets_);
  const c10::cuda::CUDAGuard guard(src_.device());
  const at::Tensor src = src_.contiguous();
  const at::Tensor order = order_.contiguous(), offsets = offsets_.contiguous();
  at::Tensor out = empty({offsets.size(0) - 1, src.size(1)}, src.options());
  at::Tensor argmax = empty(out.sizes(), order.options());
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, src.scalar_type(), "segment_max", [&] {
    C10_CUDA_CHECK(cuda::segment_max(cuda_data<scalar_t>(src), src.size(1), as_csr(order, offsets),
                                     cuda_mutable_data<scalar_t>(out),
                                     argmax.mutable_data_ptr<int32_t>(),
                                     c10::cuda::getCurrentCUDAStream()));
  });
  return {out, argmax};
}

at::Tensor segment_mean_backward_cuda(const at::Tensor& grad_out_, const at::Tensor& inverse_,
                                      const at::Tensor& order, const at::Tensor& offsets_) {
  constexpr const char* op = "segment_mean_backward";
  check_backward(op, grad_out_, inverse_, offsets_.size(0) - 1);
  check_segments(op, inverse_, order, offsets_, "grad_out", grad_out_);
  const c10::cuda::CUDAGuard guard(grad_out_.device());
  const at::Tensor grad_out = grad_out_.contiguous();
  const at::Tensor inverse = inverse_.contiguous(), offsets = offsets_.contiguous();
  at::Tensor grad_src = empty({inverse.size(0), grad_out.size(1)}, grad_out.options());
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, grad_out.scalar_type(), op, [&] {
    C10_CUDA_CHECK(cuda::segment_mean_backward(
        cuda_data<scalar_t>(grad_out), inverse.const_data_ptr<int32_t>(),
        offsets.const_data_ptr<int32_t>(), inverse.size(0), offsets.size(0) - 1, grad_out.size(1),
        cuda_mutable_data<scalar_t>(grad_src), c10::cuda::getCurrentCUDAStream()));
  });
  return grad_src;
}

at::Tensor segment_max_backward_cuda(const at::Tensor& grad_out_, const at::Tensor& argmax_,
                                     const at::Tensor& inverse_) {
  constexpr const char* op = "segment_max_backward";
  check_backward(op, grad_out_, inverse_, argmax_.size(0));
  const c10::cuda::CUDAGuard guard(grad_out_.device());
  const at::Tensor grad_out = grad_out_.contiguous();
  const at::Tensor inverse = inverse_.contiguous(), argmax = argmax_.contiguous();
  at::Tensor grad_src = empty({inverse.size(0), grad_out.size(1)}, grad_out.options());
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, grad_out.scalar_type(), op, [&] {
    C10_CUDA_CHECK(cuda::segment_max_backward(
        cuda_data<scalar_t>(grad_out), argmax.const_data_ptr<int32_t>(),
        inverse.const_data_ptr<int32_t>(), inverse.size(0), argmax.size(0), grad_out.size(1),
        cuda_mutable_data<scalar_t>(grad_src), c10::cuda::getCurrentCUDAStream()));
  });
  return grad_src;
}

#endif

}  // namespace

TORCH_LIBRARY_FRAGMENT(elite_ops, m) {
  m.def(
      "segment_sum(Tensor src, Tensor inverse, Tensor order, Tensor offsets,"
      " Tensor? num_rows=None) -> Tensor");
  m.def(
      "segment_mean(Tensor src, Tensor inverse, Tensor order, Tensor offsets,"
      " Tensor? num_rows=None) -> Tensor");
  m.def(
      "segment_max(Tensor src, Tensor inverse, Tensor order, Tensor offsets)"
      " -> (Tensor out, Tensor argmax)");
  m.def(
      "segment_mean_backward(Tensor grad_out, Tensor inverse, Tensor order, Tensor offsets)"
      " -> Tensor");
  m.def("segment_max_backward(Tensor grad_out, Tensor argmax, Tensor inverse) -> Tensor");
}
TORCH_LIBRARY_IMPL(elite_ops, CPU, m) {
  m.impl("segment_sum", &segment_sum_cpu);
  m.impl("segment_mean", &segment_mean_cpu);
  m.impl("segment_max", &segment_max_cpu);
  m.impl("segment_mean_backward", &segment_mean_backward_cpu);
  m.impl("segment_max_backward", &segment_max_backward_cpu);
}
#ifdef ELITE_WITH_CUDA
TORCH_LIBRARY_IMPL(elite_ops, CUDA, m) {
  m.impl("segment_sum", &segment_sum_cuda);
  m.impl("segment_mean", &segment_mean_cuda);
  m.impl("segment_max", &segment_max_cuda);
  m.impl("segment_mean_backward", &segment_mean_backward_cuda);
  m.impl("segment_max_backward", &segment_max_backward_cuda);
}
#endif

}  // namespace elite_ops
