#include "cpu/distillation_loss.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/aminmax.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <cmath>
#include <optional>
#include <string_view>
#include <tuple>

#include "check.h"
#include "compute_type.h"
#include "empty.h"
#ifdef ELITE_WITH_CUDA
#include "cuda.h"
#include "cuda/distillation_loss.h"
#endif

namespace elite_ops {
namespace {

using OptionalTensor = std::optional<at::Tensor>;

// Sums are made in float32 for half types; the loss and the weights have this type.
at::ScalarType sum_type(at::ScalarType dtype) {
  return dtype == at::kDouble ? at::kDouble : at::kFloat;
}

void check_per_point(const char* op, const char* name, const at::Tensor& t,
                     const at::Tensor& teacher, at::ScalarType dtype) {
  check_dim(op, name, t, 1);
  check_dtype(op, name, t, dtype);
  check_size(op, name, t, 0, teacher.size(0));
  check_same_device(op, name, t, "student_logits", teacher);
}

void check(const char* op, const at::Tensor& student, const at::Tensor& teacher,
           const OptionalTensor& weight, double temperature) {
  check_dim(op, "student_logits", student, 2);
  check_floating(op, "student_logits", student);
  check_row_count(op, "student_logits", student.size(0));
  TORCH_CHECK_VALUE(student.size(1) >= 1, op,
                    ": `student_logits` must have at least one class, got shape ", student.sizes());
  check_dim(op, "teacher_logits", teacher, 2);
  check_dtype(op, "teacher_logits", teacher, student.scalar_type());
  check_size(op, "teacher_logits", teacher, 1, student.size(1));
  check_row_count(op, "teacher_logits", teacher.size(0));
  check_same_device(op, "teacher_logits", teacher, "student_logits", student);
  if (weight.has_value()) {
    check_per_point(op, "weight", *weight, teacher, sum_type(student.scalar_type()));
  }
  TORCH_CHECK_VALUE(std::isfinite(temperature) && temperature > 0, op,
                    ": `temperature` must be positive and finite, got ", temperature);
}

void check_index(const char* op, const at::Tensor& student, const at::Tensor& teacher,
                 const OptionalTensor& index) {
  if (index.has_value()) {
    check_per_point(op, "index", *index, teacher, at::kInt);
  } else {
    TORCH_CHECK_VALUE(student.size(0) == teacher.size(0), op,
                      ": `index` must be given unless the logits have equally many rows, got ",
                      student.size(0), " and ", teacher.size(0), " rows");
  }
}

void check_index_range(const char* op, const OptionalTensor& index, int64_t num_rows) {
  if (!index.has_value() || index->numel() == 0) return;
  const auto [low, high] = at::aminmax(*index);
  const int64_t first = low.item<int32_t>(), last = high.item<int32_t>();
  TORCH_CHECK_INDEX(first >= -1 && last < num_rows, op, ": `index` must be in [-1, ", num_rows,
                    "), got values from ", first, " to ", last);
}

// What the sum of the points' terms is divided by, for each point that counts; 0: not divided.
int64_t terms_per_point(std::string_view reduction, int64_t num_classes) {
  if (reduction == "mean") return num_classes;
  if (reduction == "batchmean") return 1;
  TORCH_CHECK_VALUE(
      reduction == "sum",
      "distillation_loss: `reduction` must be \"mean\", \"batchmean\" or \"sum\", got \"",
      reduction, "\"");
  return 0;
}

void check_backward(const at::Tensor& grad_loss, const at::Tensor& scale, const at::Tensor& student,
                    const at::Tensor& teacher, const OptionalTensor& order,
                    const OptionalTensor& offsets, const OptionalTensor& weight,
                    double temperature) {
  constexpr auto op = "distillation_loss_backward";
  check(op, student, teacher, weight, temperature);
  const auto check_scalar = [&](const char* name, const at::Tensor& scalar) {
    check_dim(op, name, scalar, 0);
    check_dtype(op, name, scalar, sum_type(student.scalar_type()));
    check_same_device(op, name, scalar, "student_logits", student);
  };
  check_scalar("grad_loss", grad_loss);
  check_scalar("scale", scale);
  TORCH_CHECK_VALUE(order.has_value() == offsets.has_value(), op,
                    ": `order` must be given together with `offsets`");
  if (order.has_value()) {
    check_per_point(op, "order", *order, teacher, at::kInt);
    check_dim(op, "offsets", *offsets, 1);
    check_dtype(op, "offsets", *offsets, at::kInt);
    check_size(op, "offsets", *offsets, 0, student.size(0) + 1);
    check_same_device(op, "offsets", *offsets, "student_logits", student);
  } else {
    check_index(op, student, teacher, order);
  }
}

OptionalTensor contiguous(const OptionalTensor& t) {
  return t.has_value() ? OptionalTensor(t->contiguous()) : t;
}

template <typename T>
const T* data_or_null(const OptionalTensor& t) {
  return t.has_value() ? t->const_data_ptr<T>() : nullptr;
}

template <typename T>
cpu::Distillation<T> cpu_inputs(const at::Tensor& student, const at::Tensor& teacher,
                                const OptionalTensor& index, const OptionalTensor& weight,
                                double temperature) {
  return {student.const_data_ptr<T>(),
          teacher.const_data_ptr<T>(),
          data_or_null<int32_t>(index),
          data_or_null<T>(weight),
          student.size(0),
          teacher.size(0),
          student.size(1),
          static_cast<T>(temperature)};
}

std::tuple<at::Tensor, at::Tensor> distillation_loss_cpu(
    const at::Tensor& student_, const at::Tensor& teacher_, const OptionalTensor& index_,
    const OptionalTensor& weight_, double temperature, std::string_view reduction) {
  constexpr auto op = "distillation_loss";
  check(op, student_, teacher_, weight_, temperature);
  check_index(op, student_, teacher_, index_);
  const int64_t terms = terms_per_point(reduction, student_.size(1));
  check_index_range(op, index_, student_.size(0));
  const auto student = as_computed(student_), teacher = as_computed(teacher_);
  const auto index = contiguous(index_), weight = contiguous(weight_);
  auto loss = empty({}, student.options()), scale = empty({}, student.options());
  AT_DISPATCH_FLOATING_TYPES(student.scalar_type(), op, [&] {
    cpu::distillation_loss(cpu_inputs<scalar_t>(student, teacher, index, weight, temperature),
                           terms, loss.mutable_data_ptr<scalar_t>(),
                           scale.mutable_data_ptr<scalar_t>());
  });
  return {loss, scale};
}

at::Tensor distillation_loss_backward_cpu(const at::Tensor& grad_loss, const at::Tensor& scale,
                                          const at::Tensor& student_, const at::Tensor& teacher_,
                                          const OptionalTensor& order_,
                                          const OptionalTensor& offsets_,
                                          const OptionalTensor& weight_, double temperature) {
  check_backward(grad_loss, scale, student_, teacher_, order_, offsets_, weight_, temperature);
  const auto student = as_computed(student_), teacher = as_computed(teacher_);
  const auto order = contiguous(order_), offsets = contiguous(offsets_);
  const auto weight = contiguous(weight_);
  auto grad_student = empty(student.sizes(), student.options());
  AT_DISPATCH_FLOATING_TYPES(student.scalar_type(), "distillation_loss_backward", [&] {
    cpu::distillation_loss_backward(cpu_inputs<scalar_t>(student, teacher, {}, weight, temperature),
                                    grad_loss.item<scalar_t>() * scale.item<scalar_t>(),
                                    data_or_null<int32_t>(order), data_or_null<int32_t>(offsets),
                                    grad_student.mutable_data_ptr<scalar_t>());
  });
  return grad_student.to(student_.scalar_type());
}

#ifdef ELITE_WITH_CUDA
template <typename T, typename S = cuda::accumulate_t<cuda_scalar<T>>>
cuda::Distillation<cuda_scalar<T>> cuda_inputs(const at::Tensor& student, const at::Tensor& teacher,
                                               const OptionalTensor& index,
                                               const OptionalTensor& weight, double temperature) {
  return {cuda_data<T>(student),
          cuda_data<T>(teacher),
          data_or_null<int32_t>(index),
          data_or_null<S>(weight),
          student.size(0),
          teacher.size(0),
          student.size(1),
          static_cast<S>(temperature)};
}

std::tuple<at::Tensor, at::Tensor> distillation_loss_cuda(
    const at::Tensor& student_, const at::Tensor& teacher_, const OptionalTensor& index_,
    const OptionalTensor& weight_, double temperature, std::string_view reduction) {
  constexpr auto op = "distillation_loss";
  check(op, student_, teacher_, weight_, temperature);
  check_index(op, student_, teacher_, index_);
  const int64_t terms = terms_per_point(reduction, student_.size(1));
  const c10::cuda::CUDAGuard guard(student_.device());
  const auto student = student_.contiguous(), teacher = teacher_.contiguous();
  const auto index = contiguous(index_), weight = contiguous(weight_);
  const auto options = student.options().dtype(sum_type(student.scalar_type()));
  if (teacher.size(0) == 0) return {at::zeros({}, options), at::zeros({}, options)};
  auto loss = empty({}, options), scale = empty({}, options);
  const auto bytes = static_cast<int64_t>(cuda::distillation_loss_workspace_bytes(teacher.size(0)));
  auto workspace = empty({bytes}, options.dtype(at::kByte));
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, student.scalar_type(), op, [&] {
    using Sum = cuda::accumulate_t<cuda_scalar<scalar_t>>;
    C10_CUDA_CHECK(cuda::distillation_loss(
        cuda_inputs<scalar_t>(student, teacher, index, weight, temperature), terms,
        loss.mutable_data_ptr<Sum>(), scale.mutable_data_ptr<Sum>(),
        workspace.mutable_data_ptr<uint8_t>(), device_error_flag(ErrorSource::kDistillationLoss),
        c10::cuda::getCurrentCUDAStream()));
  });
  return {loss, scale};
}

at::Tensor distillation_loss_backward_cuda(const at::Tensor& grad_loss, const at::Tensor& scale,
                                           const at::Tensor& student_, const at::Tensor& teacher_,
                                           const OptionalTensor& order_,
                                           const OptionalTensor& offsets_,
                                           const OptionalTensor& weight_, double temperature) {
  check_backward(grad_loss, scale, student_, teacher_, order_, offsets_, weight_, temperature);
  const c10::cuda::CUDAGuard guard(student_.device());
  const auto student = student_.contiguous(), teacher = teacher_.contiguous();
  const auto order = contiguous(order_), offsets = contiguous(offsets_);
  const auto weight = contiguous(weight_);
  auto grad_student = empty(student.sizes(), student.options());
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, student.scalar_type(), "distillation_loss_backward", [&] {
        using Sum = cuda::accumulate_t<cuda_scalar<scalar_t>>;
        C10_CUDA_CHECK(cuda::distillation_loss_backward(
            cuda_inputs<scalar_t>(student, teacher, {}, weight, temperature),
            grad_loss.const_data_ptr<Sum>(), scale.const_data_ptr<Sum>(),
            data_or_null<int32_t>(order), data_or_null<int32_t>(offsets),
            cuda_mutable_data<scalar_t>(grad_student), c10::cuda::getCurrentCUDAStream()));
      });
  return grad_student;
}
#endif

}  // namespace

TORCH_LIBRARY_FRAGMENT(elite_ops, m) {
  m.def(
      "distillation_loss(Tensor student_logits, Tensor teacher_logits, Tensor? index, "
      "Tensor? weight, float temperature, str reduction) -> (Tensor loss, Tensor scale)");
  m.def(
      "distillation_loss_backward(Tensor grad_loss, Tensor scale, Tensor student_logits, "
      "Tensor teacher_logits, Tensor? order, Tensor? offsets, Tensor? weight, float temperature) "
      "-> Tensor");
}
TORCH_LIBRARY_IMPL(elite_ops, CPU, m) {
  m.impl("distillation_loss", &distillation_loss_cpu);
  m.impl("distillation_loss_backward", &distillation_loss_backward_cpu);
}
#ifdef ELITE_WITH_CUDA
TORCH_LIBRARY_IMPL(elite_ops, CUDA, m) {
  m.impl("distillation_loss", &distillation_loss_cuda);
  m.impl("distillation_loss_backward", &distillation_loss_backward_cuda);
}
#endif

}  // namespace elite_ops
