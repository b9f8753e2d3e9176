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

  RowPatterns groups;
  at::Tensor neighbors;  // [K, V]

  static OrderRows check(const at::Tensor& neighbors, c10::IntArrayRef kernel_size) {
    check_dim(kName, "neighbors", neighbors, 2);
    check_dtype(kName, "neighbors", neighbors, at::kInt);
    check_row_count(kName, "neighbors", neighbors.size(1));
    const KernelGeometry kernel = checked_submanifold_geometry(kName, kernel_size, {1, 1, 1});
    check_size(kName, "neighbors", neighbors, 0, kernel.num_offsets());
    return {{kernel.num_offsets(), kernel.size[2]}, neighbors.contiguous()};
  }

  Result run_cpu() const {
    auto [order, grouped] = allocate();
    cpu::order_rows(groups, data<int32_t>(neighbors), neighbors.size(1),
                    mutable_data<int32_t>(order), mutable_data<int32_t>(grouped));
    return {order, grouped};
  }

#ifdef ELITE_WITH_CUDA
  Result run_cuda() const {
    auto [order, grouped] = allocate();
    const auto bytes = static_cast<int64_t>(cuda::order_rows_workspace_bytes(neighbors.size(1)));
    at::Tensor workspace = empty({bytes}, neighbors.options().dtype(at::kByte));
    C10_CUDA_CHECK(cuda::order_rows(groups, data<int32_t>(neighbors), neighbors.size(1),
                                    workspace.mutable_data_ptr(), mutable_data<int32_t>(order),
                                    mutable_data<int32_t>(grouped),
                                    c10::cuda::getCurrentCUDAStream()));
    return {order, grouped};
  }
#endif

 private:
  Result allocate() const {
    return {empty({neighbors.size(1)}, neighbors.options()), at::empty_like(neighbors)};
  }
};

}  // namespace

ELITE_OP(OrderRows,
         "order_rows(Tensor neighbors, int[] kernel_size) -> (Tensor order, Tensor grouped)");

}  // namespace elite_ops
