#include "cpu/distillation_loss.h"

#include <ATen/OpMathType.h>
#include <ATen/ops/aminmax.h>
#include <ATen/ops/zeros.h>

#include <optional>
#include <string_view>
#include <tuple>

#include "check.h"
#include "compute_type.h"
#include "contiguous.h"
#include "empty.h"
#include "op.h"
#ifdef ELITE_WITH_CUDA
#include "cuda/distillation_loss.h"
#endif

namespace elite_ops {
namespace {

using OptionalTensor = std::optional<at::Tensor>;

// What both ops compare.
struct Logits {
  at::Tensor student;  // [V, C]
  at::Tensor teacher;  // [P, C]
  at::Tensor weight;   // [P] or undefined
  double temperature;

  static Logits check(const char* op, const at::Tensor& student, const at::Tensor& teacher,
                      const OptionalTensor& weight, double temperature) {
    check_dim(op, "student_logits", student, 2);
    check_floating(op, "student_logits", student);
    check_row_count(op, "student_logits", student.size(0));
    TORCH_CHECK_VALUE(student.size(1) >= 1, op,
                      ": `student_logits` must have at least one class, got shape ",
                      student.sizes());
    check_dim(op, "teacher_logits", teacher, 2);
    check_dtype(op, "teacher_logits", teacher, student.scalar_type());
    check_size(op, "teacher_logits", teacher, 1, student.size(1));
    check_row_count(op, "teacher_logits", teacher.size(0));
    check_same_device(op, "teacher_logits", teacher, "student_logits", student);
    const Logits logits{student.contiguous(), teacher.contiguous(), contiguous(weight),
                        temperature};
    if (weight) logits.check_per_point(op, "weight", *weight, logits.sum_type());
    check_positive(op, "temperature", temperature);
    return logits;
  }

  void check_per_point(const char* op, const char* name, const at::Tensor& t,
                       at::ScalarType dtype) const {
    check_dim(op, name, t, 1);
    check_dtype(op, name, t, dtype);
    check_size(op, name, t, 0, num_points());
    check_same_device(op, name, t, "student_logits", student);
  }

  void check_equally_many(const char* op) const {
    TORCH_CHECK_VALUE(num_rows() == num_points(), op,
                      ": `index` must be given unless the logits have equally many rows, got ",
                      num_rows(), " and ", num_points(), " rows");
  }

  int64_t num_rows() const { return student.size(0); }
  int64_t num_points() const { return teacher.size(0); }
  int64_t num_classes() const { return student.size(1); }
  at::ScalarType dtype() const { return student.scalar_type(); }
  // Sums are made in float32 for half types; the loss and the weights have this type.
  at::ScalarType sum_type() const { return at::toOpMathType(dtype()); }
  at::TensorOptions sum_options() const { return student.options().dtype(sum_type()); }

  // As the CPU's kernels compare them.
  Logits computed() const {
    return {as_computed(student), as_computed(teacher), weight, temperature};
  }

  // As a kernel takes them: `Distillation` is the CPU's or the device's, `Sum` the type of its
  // sums.
  template <typename Distillation, typename T, typename Sum>
  Distillation inputs(const at::Tensor& index) const {
    return {
        data<T>(student), data<T>(teacher), data<int32_t>(index), data<Sum>(weight),
        num_rows(),       num_points(),     num_classes(),        static_cast<Sum>(temperature)};
  }
};

struct DistillationLoss {
  static constexpr auto kName = "distillation_loss";
  using Result = std::tuple<at::Tensor, at::Tensor>;

  Logits logits;
  at::Tensor index;  // [P] or undefined
  // What the sum of the points' terms is divided by, for each point that counts; 0: not divided.
  int64_t terms_per_point;

  static DistillationLoss check(const at::Tensor& student_logits, const at::Tensor& teacher_logits,
                                const OptionalTensor& index, const OptionalTensor& weight,
                                double temperature, std::string_view reduction) {
    const auto logits = Logits::check(kName, student_logits, teacher_logits, weight, temperature);
    if (index) {
      logits.check_per_point(kName, "index", *index, at::kInt);
    } else {
      logits.check_equally_many(kName);
    }
    return {logits, contiguous(index), checked_terms(reduction, logits.num_classes())};
  }

  Result run_cpu() const {
    check_index_range();
    const Logits computed = logits.computed();
    at::Tensor loss = empty({}, logits.sum_options()), scale = empty({}, logits.sum_options());
    dispatch_cpu(logits.dtype(), [&](auto number) {
      using T = decltype(number);
      cpu::distillation_loss(computed.inputs<cpu::Distillation<T>, T, T>(index), terms_per_point,
                             mutable_data<T>(loss), mutable_data<T>(scale));
    });
    return {loss, scale};
  }

#ifdef ELITE_WITH_CUDA
  Result run_cuda() const {
    const auto options = logits.sum_options();
    const int64_t num_points = logits.num_points();
    if (num_points == 0) return {at::zeros({}, options), at::zeros({}, options)};
    at::Tensor loss = empty({}, options), scale = empty({}, options);
    const auto bytes = static_cast<int64_t>(cuda::distillation_loss_workspace_bytes(num_points));
    at::Tensor workspace = empty({bytes}, options.dtype(at::kByte));
    dispatch_cuda(logits.dtype(), [&](auto number) {
      using T = decltype(number);
      using Sum = cuda::accumulate_t<T>;
      C10_CUDA_CHECK(cuda::distillation_loss(
          logits.inputs<cuda::Distillation<T>, T, Sum>(index), terms_per_point,
          mutable_data<Sum>(loss), mutable_data<Sum>(scale), workspace.mutable_data_ptr(),
          device_error_flag(ErrorSource::kDistillationLoss), c10::cuda::getCurrentCUDAStream()));
    });
    return {loss, scale};
  }
#endif

 private:
  static int64_t checked_terms(std::string_view reduction, int64_t num_classes) {
    if (reduction == "mean") return num_classes;
    if (reduction == "batchmean") return 1;
    TORCH_CHECK_VALUE(reduction == "sum", kName,
                      ": `reduction` must be \"mean\", \"batchmean\" or \"sum\", got \"", reduction,
                      "\"");
    return 0;
  }

  void check_index_range() const {
    if (!index.defined() || index.numel() == 0) return;
    const auto [low, high] = at::aminmax(index);
    const int32_t first = *data<int32_t>(low), last = *data<int32_t>(high);
    TORCH_CHECK_INDEX(first >= -1 && last < logits.num_rows(), kName, ": `index` must be in [-1, ",
                      logits.num_rows(), "), got values from ", first, " to ", last);
  }
};

struct DistillationLossBackward {
  static constexpr auto kName = "distillation_loss_backward";

  Logits logits;
  at::Tensor grad_loss, scale;  // []
  at::Tensor order, offsets;    // [P] and [V + 1], the points by row, or undefined

  static DistillationLossBackward check(const at::Tensor& grad_loss, const at::Tensor& scale,
                                        const at::Tensor& student_logits,
                                        const at::Tensor& teacher_logits,
                                        const OptionalTensor& order, const OptionalTensor& offsets,
                                        const OptionalTensor& weight, double temperature) {
    const auto logits = Logits::check(kName, student_logits, teacher_logits, weight, temperature);
    const auto check_scalar = [&](const char* name, const at::Tensor& scalar) {
      check_dim(kName, name, scalar, 0);
      check_dtype(kName, name, scalar, logits.sum_type());
      check_same_device(kName, name, scalar, "student_logits", logits.student);
    };
    check_scalar("grad_loss", grad_loss);
    check_scalar("scale", scale);
    TORCH_CHECK_VALUE(order.has_value() == offsets.has_value(), kName,
                      ": `order` must be given together with `offsets`");
    if (order) {
      logits.check_per_point(kName, "order", *order, at::kInt);
      check_dim(kName, "offsets", *offsets, 1);
      check_dtype(kName, "offsets", *offsets, at::kInt);
      check_size(kName, "offsets", *offsets, 0, logits.num_rows() + 1);
      check_same_device(kName, "offsets", *offsets, "student_logits", logits.student);
    } else {
      logits.check_equally_many(kName);
    }
    return {logits, grad_loss, scale, contiguous(order), contiguous(offsets)};
  }

  at::Tensor run_cpu() const {
    const Logits computed = logits.computed();
    at::Tensor grad_student = empty(computed.student.sizes(), computed.student.options());
    dispatch_cpu(logits.dtype(), [&](auto number) {
      using T = decltype(number);
      cpu::distillation_loss_backward(computed.inputs<cpu::Distillation<T>, T, T>({}),
                                      *data<T>(grad_loss) * *data<T>(scale), data<int32_t>(order),
                                      data<int32_t>(offsets), mutable_data<T>(grad_student));
    });
    return grad_student.to(logits.dtype());
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    at::Tensor grad_student = empty(logits.student.sizes(), logits.student.options());
    dispatch_cuda(logits.dtype(), [&](auto number) {
      using T = decltype(number);
      using Sum = cuda::accumulate_t<T>;
      C10_CUDA_CHECK(cuda::distillation_loss_backward(
          logits.inputs<cuda::Distillation<T>, T, Sum>({}), data<Sum>(grad_loss), data<Sum>(scale),
          data<int32_t>(order), data<int32_t>(offsets), mutable_data<T>(grad_student),
          c10::cuda::getCurrentCUDAStream()));
    });
    return grad_student;
  }
#endif
};

}  // namespace

ELITE_OP(DistillationLoss,
         "distillation_loss(Tensor student_logits, Tensor teacher_logits, Tensor? index, "
         "Tensor? weight, float temperature, str reduction) -> (Tensor loss, Tensor scale)");
ELITE_OP(DistillationLossBackward,
         "distillation_loss_backward(Tensor grad_loss, Tensor scale, Tensor student_logits, "
         "Tensor teacher_logits, Tensor? order, Tensor? offsets, Tensor? weight, "
         "float temperature) -> Tensor");

}  // namespace elite_ops
