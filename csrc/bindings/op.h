// The one shape of a binding. An op is a struct of checked arguments that knows how to run:
//
//   struct SegmentSum {
//     static constexpr auto kName = "segment_sum";
//     at::Tensor src;
//     ...
//     static SegmentSum check(const at::Tensor& src, ...);  // raises, or returns what to compute
//     at::Tensor run_cpu() const;
//     at::Tensor run_cuda() const;  // under ELITE_WITH_CUDA
//   };
//   ELITE_OP(SegmentSum, "segment_sum(Tensor src, ...) -> Tensor");
//
// `check` takes the arguments of the schema, and is the only place that says what they must be. It
// computes nothing; tensors are kept as the kernels want them, contiguous.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <new>
#include <type_traits>

#ifdef ELITE_WITH_CUDA
#include "cuda.h"
#endif

namespace elite_ops {

// The first tensor among arguments, however they hold it; undefined where there is none.
inline at::Tensor first_tensor() { return {}; }
template <typename First, typename... Rest>
at::Tensor first_tensor(const First& first, const Rest&... rest) {
  if constexpr (std::is_convertible_v<First, at::Tensor>) return first;
  if constexpr (std::is_convertible_v<First, at::TensorList>) {
    if (const at::TensorList list = first; !list.empty()) return list.front();
  }
  return first_tensor(rest...);
}

// A tensor's data, null where it is undefined.
template <typename T>
const T* data(const at::Tensor& t) {
  return t.defined() ? static_cast<const T*>(t.const_data_ptr()) : nullptr;
}
template <typename T>
T* mutable_data(at::Tensor& t) {
  return static_cast<T*>(t.mutable_data_ptr());
}

// Calls `body` with a number of the type that CPU kernels compute in: double for doubles, else
// float.
template <typename Body>
auto dispatch_cpu(at::ScalarType dtype, const Body& body) {
  return dtype == at::kDouble ? body(double()) : body(float());
}

#ifdef ELITE_WITH_CUDA
// Calls `body` with a number of the CUDA type of a floating dtype.
template <typename Body>
auto dispatch_cuda(at::ScalarType dtype, const Body& body) {
  switch (dtype) {
    case at::kDouble:
      return body(double());
    case at::kHalf:
      return body(__half());
    case at::kBFloat16:
      return body(__nv_bfloat16());
    default:
      return body(float());
  }
}
#endif

// torch lets None pass for a tensor that is not optional.
template <typename... Args>
void check_tensors_are_given(const char* op, const Args&... args) {
  int position = 0;
  const auto check = [&](const auto& arg) {
    ++position;
    if constexpr (std::is_same_v<std::decay_t<decltype(arg)>, at::Tensor>) {
      TORCH_CHECK_VALUE(arg.defined(), op, ": argument ", position, " must be a tensor, got None");
    }
  };
  (check(args), ...);
}

// The functions that torch calls for an op on either device.
template <auto check>
struct OpKernels;
template <typename Op, typename... Args, Op (*check)(Args...)>
struct OpKernels<check> {
  static auto cpu(Args... args) {
    check_tensors_are_given(Op::kName, args...);
    try {
      return check(args...).run_cpu();
    } catch (const std::bad_alloc&) {
      TORCH_CHECK_WITH(OutOfMemoryError, false, Op::kName, ": not enough memory for these sizes");
    }
  }
#ifdef ELITE_WITH_CUDA
  static auto cuda(Args... args) {
    check_tensors_are_given(Op::kName, args...);
    const Op op = check(args...);
    const c10::cuda::CUDAGuard guard(first_tensor(args...).device());
    return op.run_cuda();
  }
#endif
};

}  // namespace elite_ops

#ifdef ELITE_WITH_CUDA
#define ELITE_OP_ON_CUDA(Op)                                      \
  TORCH_LIBRARY_IMPL(elite_ops, CUDA, m) {                        \
    m.impl(Op::kName, &::elite_ops::OpKernels<&Op::check>::cuda); \
  }
#else
#define ELITE_OP_ON_CUDA(Op)
#endif

// Declares an op by its schema, and registers what it runs on each device.
#define ELITE_OP(Op, schema)                                     \
  TORCH_LIBRARY_FRAGMENT(elite_ops, m) { m.def(schema); }        \
  TORCH_LIBRARY_IMPL(elite_ops, CPU, m) {                        \
    m.impl(Op::kName, &::elite_ops::OpKernels<&Op::check>::cpu); \
  }                                                              \
  ELITE_OP_ON_CUDA(Op)                                           \
  static_assert(true, "takes the semicolon")
