#include "cpu/add_rows.h"

#include <ATen/ops/add.h>

#include <optional>

#include "check.h"
#include "common/num_rows.h"
#include "empty.h"
#include "op.h"
#ifdef ELITE_WITH_CUDA
#include "cuda/add_rows.h"
#endif

namespace elite_ops {
namespace {

struct AddRows {
  static constexpr auto kName = "add_rows";

  at::Tensor x, y;  // [N, C]
  std::optional<at::Tensor> num_rows;

  static AddRows check(const at::Tensor& x, const at::Tensor& y,
                       const std::optional<at::Tensor>& num_rows) {
    check_dim(kName, "x", x, 2);
    check_floating(kName, "x", x);
    check_row_count(kName, "x", x.size(0));
    check_dim(kName, "y", y, 2);
    check_dtype(kName, "y", y, x.scalar_type());
    check_same_device(kName, "y", y, "x", x);
    check_size(kName, "y", y, 0, x.size(0));
    check_size(kName, "y", y, 1, x.size(1));
    check_num_rows(kName, num_rows, x.size(0), "x", x);
    return {x.contiguous(), y.contiguous(), num_rows};
  }

  at::Tensor run_cpu() const {
    at::Tensor out = empty(x.sizes(), x.options());
    const int64_t rows = valid_rows(num_rows_data(num_rows), x.size(0));
    if (x.element_size() == 2) {  // torch adds half types without widened copies
      at::Tensor sums = out.narrow(0, 0, rows);
      at::add_out(sums, x.narrow(0, 0, rows), y.narrow(0, 0, rows));
      return out;
    }
    dispatch_cpu(x.scalar_type(), [&](auto number) {
      using T = decltype(number);
      cpu::add_rows(data<T>(x), data<T>(y), rows, x.size(1), mutable_data<T>(out));
    });
    return out;
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    at::Tensor out = empty(x.sizes(), x.options());
    dispatch_cuda(x.scalar_type(), [&](auto number) {
      using T = decltype(number);
      C10_CUDA_CHECK(cuda::add_rows(data<T>(x), data<T>(y), x.size(0), x.size(1),
                                    num_rows_data(num_rows), mutable_data<T>(out),
                                    c10::cuda::getCurrentCUDAStream()));
    });
    return out;
  }
#endif
};

}  // namespace

ELITE_OP(AddRows, "add_rows(Tensor x, Tensor y, Tensor? num_rows=None) -> Tensor");

}  // namespace elite_ops
