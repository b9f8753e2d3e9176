#include "cpu/serialize.h"

#include <c10/util/ArrayRef.h>

#include "check.h"
#include "empty.h"
#include "op.h"
#ifdef ELITE_WITH_CUDA
#include "cuda/serialize.h"
#endif

namespace elite_ops {
namespace {

struct Serialize {
  static constexpr auto kName = "serialize";

  at::Tensor indices;
  CurveArguments curve;

  static Serialize check(const at::Tensor& indices, bool hilbert, bool transposed, int64_t depth) {
    check_dim(kName, "indices", indices, 2);
    check_size(kName, "indices", indices, 1, 4);
    check_dtype(kName, "indices", indices, at::kInt);
    check_row_count(kName, "indices", indices.size(0));
    TORCH_CHECK_VALUE(depth >= 1 && depth <= kMaxCurveDepth, kName,
                      ": `depth` must be between 1 and ", kMaxCurveDepth,
                      ", as codes have 63 bits, got ", depth);
    return {indices.contiguous(), {hilbert, transposed, static_cast<int>(depth)}};
  }

  at::Tensor run_cpu() const {
    const int32_t* rows = data<int32_t>(indices);
    const int64_t row = cpu::first_without_code(rows, indices.size(0), curve);
    TORCH_CHECK_INDEX(row == indices.size(0), kName, ": `indices` must be cells below 2^",
                      curve.depth, " of samples below 2^", 63 - 3 * curve.depth, ", got ",
                      c10::ArrayRef<int32_t>(rows + row * 4, 4), " at row ", row);
    at::Tensor codes = allocate();
    cpu::serialize(rows, indices.size(0), curve, mutable_data<int64_t>(codes));
    return codes;
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    at::Tensor codes = allocate();
    C10_CUDA_CHECK(cuda::serialize(
        data<int32_t>(indices), indices.size(0), curve, mutable_data<int64_t>(codes),
        device_error_flag(ErrorSource::kSerialize), c10::cuda::getCurrentCUDAStream()));
    return codes;
  }
#endif

 private:
  at::Tensor allocate() const {
    return empty({indices.size(0)}, indices.options().dtype(at::kLong));
  }
};

}  // namespace

ELITE_OP(Serialize,
         "serialize(Tensor indices, bool hilbert, bool transposed, SymInt depth) -> Tensor");

}  // namespace elite_ops
