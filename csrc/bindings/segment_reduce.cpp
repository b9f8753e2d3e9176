#include "cpu/segment_reduce.h"

#include <optional>
#include <tuple>

#include "compute_type.h"
#include "cpu/csr_reduce.h"
#include "empty.h"
#include "op.h"
#include "segments.h"
#ifdef ELITE_WITH_CUDA
#include "cuda/csr_reduce.h"
#include "cuda/segment_reduce.h"
#endif

namespace elite_ops {
namespace {

// One row for each of `rows`, of the dtype and on the device of `like`.
at::Tensor empty_rows(int64_t rows, const at::Tensor& like) {
  return empty({rows, like.size(1)}, like.options());
}

void check_matrix(const char* op, const char* name, const at::Tensor& t, int64_t rows) {
  check_dim(op, name, t, 2);
  check_floating(op, name, t);
  check_size(op, name, t, 0, rows);
}

template <bool mean>
struct SegmentReduce {
  static constexpr auto kName = mean ? "segment_mean" : "segment_sum";

  at::Tensor src;  // [N, C]
  SegmentTensors segments;
  std::optional<at::Tensor> num_rows;

  static SegmentReduce check(const at::Tensor& src, const at::Tensor& inverse,
                             const at::Tensor& order, const at::Tensor& offsets,
                             const std::optional<at::Tensor>& num_rows) {
    auto segments = SegmentTensors::check_of_rows(kName, "src", src, inverse, order, offsets);
    check_num_rows(kName, num_rows, segments.num_segments(), "src", src);
    return {src.contiguous(), std::move(segments), num_rows};
  }

  at::Tensor run_cpu() const {
    const at::Tensor computed = as_computed(src);
    at::Tensor out = empty_rows(segments.num_segments(), computed);
    dispatch_cpu(src.scalar_type(), [&](auto number) {
      using T = decltype(number);
      cpu::csr_reduce(data<T>(computed), src.size(1), segments.csr(num_rows), mean,
                      mutable_data<T>(out));
    });
    return out.to(src.scalar_type());
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    at::Tensor out = empty_rows(segments.num_segments(), src);
    dispatch_cuda(src.scalar_type(), [&](auto number) {
      using T = decltype(number);
      C10_CUDA_CHECK(cuda::csr_reduce(data<T>(src), src.size(1), segments.csr(num_rows), mean,
                                      mutable_data<T>(out), c10::cuda::getCurrentCUDAStream()));
    });
    return out;
  }
#endif
};

template <bool largest>
struct SegmentExtreme {
  static constexpr auto kName = largest ? "segment_max" : "segment_min";
  using Result = std::tuple<at::Tensor, at::Tensor>;

  at::Tensor src;  // [N, C]
  SegmentTensors segments;

  static SegmentExtreme check(const at::Tensor& src, const at::Tensor& inverse,
                              const at::Tensor& order, const at::Tensor& offsets) {
    auto segments = SegmentTensors::check_of_rows(kName, "src", src, inverse, order, offsets);
    return {src.contiguous(), std::move(segments)};
  }

  Result run_cpu() const {
    const at::Tensor computed = as_computed(src);
    at::Tensor out = empty_rows(segments.num_segments(), computed);
    at::Tensor points = empty(out.sizes(), segments.order.options());
    dispatch_cpu(src.scalar_type(), [&](auto number) {
      using T = decltype(number);
      const auto reduce = largest ? cpu::segment_max<T> : cpu::segment_min<T>;
      reduce(data<T>(computed), src.size(1), segments.csr(), mutable_data<T>(out),
             mutable_data<int32_t>(points));
    });
    return {out.to(src.scalar_type()), points};
  }

#ifdef ELITE_WITH_CUDA
  Result run_cuda() const {
    at::Tensor out = empty_rows(segments.num_segments(), src);
    at::Tensor points = empty(out.sizes(), segments.order.options());
    dispatch_cuda(src.scalar_type(), [&](auto number) {
      using T = decltype(number);
      const auto reduce = largest ? cuda::segment_max<T> : cuda::segment_min<T>;
      C10_CUDA_CHECK(reduce(data<T>(src), src.size(1), segments.csr(), mutable_data<T>(out),
                            mutable_data<int32_t>(points), c10::cuda::getCurrentCUDAStream()));
    });
    return {out, points};
  }
#endif
};

struct SegmentMeanBackward {
  static constexpr auto kName = "segment_mean_backward";

  at::Tensor grad_out;  // [M, C]
  SegmentTensors segments;

  static SegmentMeanBackward check(const at::Tensor& grad_out, const at::Tensor& inverse,
                                   const at::Tensor& order, const at::Tensor& offsets) {
    auto segments = SegmentTensors::check(kName, inverse, order, offsets, "grad_out", grad_out);
    check_matrix(kName, "grad_out", grad_out, segments.num_segments());
    return {grad_out.contiguous(), std::move(segments)};
  }

  at::Tensor run_cpu() const {
    const at::Tensor computed = as_computed(grad_out);
    at::Tensor grad_src = empty_rows(segments.num_points(), computed);
    dispatch_cpu(grad_out.scalar_type(), [&](auto number) {
      using T = decltype(number);
      cpu::segment_mean_backward(data<T>(computed), data<int32_t>(segments.inverse),
                                 data<int32_t>(segments.offsets), segments.num_points(),
                                 segments.num_segments(), computed.size(1),
                                 mutable_data<T>(grad_src));
    });
    return grad_src.to(grad_out.scalar_type());
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    at::Tensor grad_src = empty_rows(segments.num_points(), grad_out);
    dispatch_cuda(grad_out.scalar_type(), [&](auto number) {
      using T = decltype(number);
      C10_CUDA_CHECK(cuda::segment_mean_backward(
          data<T>(grad_out), data<int32_t>(segments.inverse), data<int32_t>(segments.offsets),
          segments.num_points(), segments.num_segments(), grad_out.size(1),
          mutable_data<T>(grad_src), c10::cuda::getCurrentCUDAStream()));
    });
    return grad_src;
  }
#endif
};

void check_argmax(const char* op, const at::Tensor& argmax, const at::Tensor& inverse,
                  const char* with_name, const at::Tensor& with) {
  check_row_numbers(op, "argmax", argmax, 2, with_name, with);
  check_size(op, "argmax", argmax, 1, with.size(1));
  check_row_numbers(op, "inverse", inverse, 1, with_name, with);
}

struct SegmentMaxBackward {
  static constexpr auto kName = "segment_max_backward";

  at::Tensor grad_out;  // [M, C]
  at::Tensor argmax;    // [M, C]
  at::Tensor inverse;   // [N]

  static SegmentMaxBackward check(const at::Tensor& grad_out, const at::Tensor& argmax,
                                  const at::Tensor& inverse) {
    check_dim(kName, "grad_out", grad_out, 2);
    check_argmax(kName, argmax, inverse, "grad_out", grad_out);
    check_matrix(kName, "grad_out", grad_out, argmax.size(0));
    return {grad_out.contiguous(), argmax.contiguous(), inverse.contiguous()};
  }

  at::Tensor run_cpu() const {
    const at::Tensor computed = as_computed(grad_out);
    at::Tensor grad_src = empty_rows(inverse.size(0), computed);
    dispatch_cpu(grad_out.scalar_type(), [&](auto number) {
      using T = decltype(number);
      cpu::segment_max_backward(data<T>(computed), data<int32_t>(argmax), data<int32_t>(inverse),
                                inverse.size(0), argmax.size(0), argmax.size(1),
                                mutable_data<T>(grad_src));
    });
    return grad_src.to(grad_out.scalar_type());
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    at::Tensor grad_src = empty_rows(inverse.size(0), grad_out);
    dispatch_cuda(grad_out.scalar_type(), [&](auto number) {
      using T = decltype(number);
      C10_CUDA_CHECK(cuda::segment_max_backward(
          data<T>(grad_out), data<int32_t>(argmax), data<int32_t>(inverse), inverse.size(0),
          argmax.size(0), argmax.size(1), mutable_data<T>(grad_src),
          c10::cuda::getCurrentCUDAStream()));
    });
    return grad_src;
  }
#endif
};

struct SegmentTake {
  static constexpr auto kName = "segment_take";

  at::Tensor src;     // [N, C]
  at::Tensor argmax;  // [M, C]

  // `inverse` [N] is what the gradient needs.
  static SegmentTake check(const at::Tensor& src, const at::Tensor& argmax,
                           const at::Tensor& inverse) {
    check_dim(kName, "src", src, 2);
    check_argmax(kName, argmax, inverse, "src", src);
    check_matrix(kName, "src", src, inverse.size(0));
    return {src.contiguous(), argmax.contiguous()};
  }

  at::Tensor run_cpu() const {
    const at::Tensor computed = as_computed(src);
    at::Tensor out = empty_rows(argmax.size(0), computed);
    dispatch_cpu(src.scalar_type(), [&](auto number) {
      using T = decltype(number);
      cpu::segment_take(data<T>(computed), data<int32_t>(argmax), src.size(0), argmax.size(0),
                        argmax.size(1), mutable_data<T>(out));
    });
    return out.to(src.scalar_type());
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    at::Tensor out = empty_rows(argmax.size(0), src);
    dispatch_cuda(src.scalar_type(), [&](auto number) {
      using T = decltype(number);
      C10_CUDA_CHECK(cuda::segment_take(data<T>(src), data<int32_t>(argmax), src.size(0),
                                        argmax.size(0), argmax.size(1), mutable_data<T>(out),
                                        c10::cuda::getCurrentCUDAStream()));
    });
    return out;
  }
#endif
};

}  // namespace

ELITE_OP(SegmentReduce<false>,
         "segment_sum(Tensor src, Tensor inverse, Tensor order, Tensor offsets,"
         " Tensor? num_rows=None) -> Tensor");
ELITE_OP(SegmentReduce<true>,
         "segment_mean(Tensor src, Tensor inverse, Tensor order, Tensor offsets,"
         " Tensor? num_rows=None) -> Tensor");
ELITE_OP(SegmentExtreme<true>,
         "segment_max(Tensor src, Tensor inverse, Tensor order, Tensor offsets)"
         " -> (Tensor out, Tensor argmax)");
ELITE_OP(SegmentExtreme<false>,
         "segment_min(Tensor src, Tensor inverse, Tensor order, Tensor offsets)"
         " -> (Tensor out, Tensor argmin)");
ELITE_OP(SegmentMeanBackward,
         "segment_mean_backward(Tensor grad_out, Tensor inverse, Tensor order, Tensor offsets)"
         " -> Tensor");
ELITE_OP(SegmentMaxBackward,
         "segment_max_backward(Tensor grad_out, Tensor argmax, Tensor inverse) -> Tensor");
ELITE_OP(SegmentTake, "segment_take(Tensor src, Tensor argmax, Tensor inverse) -> Tensor");

}  // namespace elite_ops
