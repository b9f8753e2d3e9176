#include "cpu/segment_softmax.h"

#include "compute_type.h"
#include "empty.h"
#include "op.h"
#include "segments.h"
#ifdef ELITE_WITH_CUDA
#include "cuda/segment_softmax.h"
#endif

namespace elite_ops {
namespace {

#ifdef ELITE_WITH_CUDA
template <typename T>
at::Tensor workspace_for(const SegmentTensors& segments, int64_t channels) {
  const size_t bytes = cuda::segment_softmax_workspace_bytes<T>(segments.num_segments(), channels);
  return empty({static_cast<int64_t>(bytes)}, segments.order.options().dtype(at::kByte));
}
#endif

struct SegmentSoftmax {
  static constexpr auto kName = "segment_softmax";

  at::Tensor src;  // [N, C]
  SegmentTensors segments;

  static SegmentSoftmax check(const at::Tensor& src, const at::Tensor& inverse,
                              const at::Tensor& order, const at::Tensor& offsets) {
    auto segments = SegmentTensors::check_of_rows(kName, "src", src, inverse, order, offsets);
    return {src.contiguous(), std::move(segments)};
  }

  at::Tensor run_cpu() const {
    const at::Tensor computed = as_computed(src);
    at::Tensor out = empty(src.sizes(), computed.options());
    dispatch_cpu(src.scalar_type(), [&](auto number) {
      using T = decltype(number);
      cpu::segment_softmax(data<T>(computed), src.size(0), src.size(1), segments.csr(),
                           mutable_data<T>(out));
    });
    return out.to(src.scalar_type());
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    at::Tensor out = empty(src.sizes(), src.options());
    dispatch_cuda(src.scalar_type(), [&](auto number) {
      using T = decltype(number);
      at::Tensor workspace = workspace_for<T>(segments, src.size(1));
      C10_CUDA_CHECK(cuda::segment_softmax(
          data<T>(src), data<int32_t>(segments.inverse), src.size(0), src.size(1), segments.csr(),
          workspace.mutable_data_ptr(), mutable_data<T>(out), c10::cuda::getCurrentCUDAStream()));
    });
    return out;
  }
#endif
};

struct SegmentSoftmaxBackward {
  static constexpr auto kName = "segment_softmax_backward";

  at::Tensor grad_out, out;  // [N, C]
  SegmentTensors segments;

  static SegmentSoftmaxBackward check(const at::Tensor& grad_out, const at::Tensor& out,
                                      const at::Tensor& inverse, const at::Tensor& order,
                                      const at::Tensor& offsets) {
    auto segments =
        SegmentTensors::check_of_rows(kName, "grad_out", grad_out, inverse, order, offsets);
    check_dim(kName, "out", out, 2);
    check_dtype(kName, "out", out, grad_out.scalar_type());
    check_same_device(kName, "out", out, "grad_out", grad_out);
    check_size(kName, "out", out, 0, grad_out.size(0));
    check_size(kName, "out", out, 1, grad_out.size(1));
    return {grad_out.contiguous(), out.contiguous(), std::move(segments)};
  }

  at::Tensor run_cpu() const {
    const at::Tensor grad = as_computed(grad_out), value = as_computed(out);
    at::Tensor grad_src = empty(grad.sizes(), grad.options());
    dispatch_cpu(out.scalar_type(), [&](auto number) {
      using T = decltype(number);
      cpu::segment_softmax_backward(data<T>(grad), data<T>(value), out.size(0), out.size(1),
                                    segments.csr(), mutable_data<T>(grad_src));
    });
    return grad_src.to(out.scalar_type());
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    at::Tensor grad_src = empty(out.sizes(), out.options());
    dispatch_cuda(out.scalar_type(), [&](auto number) {
      using T = decltype(number);
      at::Tensor workspace = workspace_for<T>(segments, out.size(1));
      C10_CUDA_CHECK(cuda::segment_softmax_backward(
          data<T>(grad_out), data<T>(out), data<int32_t>(segments.inverse), out.size(0),
          out.size(1), segments.csr(), workspace.mutable_data_ptr(), mutable_data<T>(grad_src),
          c10::cuda::getCurrentCUDAStream()));
    });
    return grad_src;
  }
#endif
};

struct SegmentLogsumexp {
  static constexpr auto kName = "segment_logsumexp";

  at::Tensor src;  // [N, C]
  SegmentTensors segments;

  static SegmentLogsumexp check(const at::Tensor& src, const at::Tensor& inverse,
                                const at::Tensor& order, const at::Tensor& offsets) {
    auto segments = SegmentTensors::check_of_rows(kName, "src", src, inverse, order, offsets);
    return {src.contiguous(), std::move(segments)};
  }

  at::Tensor run_cpu() const {
    const at::Tensor computed = as_computed(src);
    at::Tensor out = empty({segments.num_segments(), src.size(1)}, computed.options());
    dispatch_cpu(src.scalar_type(), [&](auto number) {
      using T = decltype(number);
      cpu::segment_logsumexp(data<T>(computed), src.size(1), segments.csr(), mutable_data<T>(out));
    });
    return out.to(src.scalar_type());
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    at::Tensor out = empty({segments.num_segments(), src.size(1)}, src.options());
    dispatch_cuda(src.scalar_type(), [&](auto number) {
      using T = decltype(number);
      C10_CUDA_CHECK(cuda::segment_logsumexp(data<T>(src), src.size(1), segments.csr(),
                                             mutable_data<T>(out),
                                             c10::cuda::getCurrentCUDAStream()));
    });
    return out;
  }
#endif
};

}  // namespace

ELITE_OP(SegmentSoftmax,
         "segment_softmax(Tensor src, Tensor inverse, Tensor order, Tensor offsets) -> Tensor");
ELITE_OP(SegmentSoftmaxBackward,
         "segment_softmax_backward(Tensor grad_out, Tensor out, Tensor inverse, Tensor order,"
         " Tensor offsets) -> Tensor");
ELITE_OP(SegmentLogsumexp,
         "segment_logsumexp(Tensor src, Tensor inverse, Tensor order, Tensor offsets) -> Tensor");

}  // namespace elite_ops
