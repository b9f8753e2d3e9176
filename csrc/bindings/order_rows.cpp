#include "cpu/order_rows.h"

#include <ATen/ops/empty_like.h>

#include <tuple>

#include "check.h"
#include "empty.h"
#include "kernel_geometry.h"
#include "op.h"
#ifdef ELITE_WITH_CUDA
#include "cuda/order_rows.h"
#endif

namespace elite_ops {
namespace {

struct OrderRows {
  static constexpr auto kName = "order_rows";
  using Result = std::tuple<at::Tensor, at::Tensor>;

  RowPatterns patterns;
  at::Tensor in_rows;  // [K, V]

  static OrderRows check(const at::Tensor& in_rows, c10::IntArrayRef kernel_size) {
    check_dim(kName, "in_rows", in_rows, 2);
    check_dtype(kName, "in_rows", in_rows, at::kInt);
    check_row_count(kName, "in_rows", in_rows.size(1));
    const KernelGeometry kernel = checked_submanifold_geometry(kName, kernel_size, {1, 1, 1});
    check_size(kName, "in_rows", in_rows, 0, kernel.num_offsets());
    return {{kernel.num_offsets(), kernel.size[2]}, in_rows.contiguous()};
  }

  Result run_cpu() const {
    auto [order, ordered_rows] = allocate();
    cpu::order_rows(patterns, data<int32_t>(in_rows), in_rows.size(1), mutable_data<int32_t>(order),
                    mutable_data<int32_t>(ordered_rows));
    return {order, ordered_rows};
  }

#ifdef ELITE_WITH_CUDA
  Result run_cuda() const {
    auto [order, ordered_rows] = allocate();
    const auto bytes = static_cast<int64_t>(cuda::order_rows_workspace_bytes(in_rows.size(1)));
    at::Tensor workspace = empty({bytes}, in_rows.options().dtype(at::kByte));
    C10_CUDA_CHECK(cuda::order_rows(patterns, data<int32_t>(in_rows), in_rows.size(1),
                                    workspace.mutable_data_ptr(), mutable_data<int32_t>(order),
                                    mutable_data<int32_t>(ordered_rows),
                                    c10::cuda::getCurrentCUDAStream()));
    return {order, ordered_rows};
  }
#endif

 private:
  Result allocate() const {
    return {empty({in_rows.size(1)}, in_rows.options()), at::empty_like(in_rows)};
  }
};

}  // namespace

ELITE_OP(OrderRows,
         "order_rows(Tensor in_rows, int[] kernel_size) -> (Tensor order, Tensor ordered_rows)");

}  // namespace elite_ops
