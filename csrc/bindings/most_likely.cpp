#include "cpu/most_likely.h"

#include <optional>

#include "check.h"
#include "compute_type.h"
#include "contiguous.h"
#include "empty.h"
#include "op.h"
#ifdef ELITE_WITH_CUDA
#include "cuda/most_likely.h"
#endif

namespace elite_ops {
namespace {

struct MostLikely {
  static constexpr auto kName = "most_likely";

  at::Tensor logits;  // [N, C], neighbouring columns side by side
  at::Tensor valid;   // [N] bool or int32, or undefined
  int64_t ignored;

  static MostLikely check(const at::Tensor& logits, const std::optional<at::Tensor>& valid,
                          std::optional<int64_t> ignore_label) {
    check_dim(kName, "logits", logits, 2);
    check_floating(kName, "logits", logits);
    const int64_t columns = logits.size(1);
    check_row_count(kName, "logits", logits.size(0));
    TORCH_CHECK_VALUE(
        columns > 0 && columns < std::numeric_limits<int32_t>::max(), kName,
        ": `logits` must have at least one column, and fewer than 2^31 - 1, got shape ",
        logits.sizes());
    if (valid) {
      check_dim(kName, "valid", *valid, 1);
      TORCH_CHECK_TYPE(valid->scalar_type() == at::kBool || valid->scalar_type() == at::kInt, kName,
                       ": `valid` must be Bool or Int, got ", valid->scalar_type());
      check_same_device(kName, "valid", *valid, "logits", logits);
      check_size(kName, "valid", *valid, 0, logits.size(0));
    }
    if (ignore_label) {
      TORCH_CHECK_VALUE(*ignore_label >= 0 && *ignore_label < columns, kName,
                        ": `ignore_label` must be in [0, ", columns, "), got ", *ignore_label);
      TORCH_CHECK_VALUE(columns > 1, kName,
                        ": `logits` must have a column beside `ignore_label`, got shape ",
                        logits.sizes());
    }
    return {logits.stride(1) == 1 ? logits : logits.contiguous(), contiguous(valid),
            ignore_label.value_or(-1)};
  }

  at::Tensor run_cpu() const {
    // Rows of half types are widened, and with that copied; others stay where they are.
    const bool is_wide = logits.element_size() >= 4;
    const at::Tensor computed = is_wide ? logits : as_computed(logits);
    at::Tensor out = labels();
    dispatch_cpu(computed.scalar_type(), [&](auto number) {
      cpu::most_likely(rows<decltype(number)>(computed), mutable_data<int64_t>(out));
    });
    return out;
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    at::Tensor out = labels();
    dispatch_cuda(logits.scalar_type(), [&](auto number) {
      C10_CUDA_CHECK(cuda::most_likely(rows<decltype(number)>(logits), mutable_data<int64_t>(out),
                                       c10::cuda::getCurrentCUDAStream()));
    });
    return out;
  }
#endif

 private:
  at::Tensor labels() const { return empty({logits.size(0)}, logits.options().dtype(at::kLong)); }

  template <typename T>
  LogitRows<T> rows(const at::Tensor& t) const {
    LogitRows<T> rows{data<T>(t), t.size(0), t.stride(0), static_cast<int32_t>(t.size(1)),
                      static_cast<int32_t>(ignored)};
    if (!valid.defined()) return rows;
    if (valid.scalar_type() == at::kBool) {
      rows.valid = data<bool>(valid);
    } else {
      rows.row_numbers = data<int32_t>(valid);
    }
    return rows;
  }
};

}  // namespace

ELITE_OP(MostLikely,
         "most_likely(Tensor logits, Tensor? valid=None, int? ignore_label=None) -> Tensor");

}  // namespace elite_ops
