#include "cpu/patch_to_point.h"

#include <tuple>

#include "check.h"
#include "compute_type.h"
#include "empty.h"
#include "grid.h"
#include "op.h"
#ifdef ELITE_WITH_CUDA
#include "cuda/patch_to_point.h"
#endif

namespace elite_ops {
namespace {

void check_pixel(const char* op, const at::Tensor& pixel, const char* with_name,
                 const at::Tensor& with) {
  check_dim(op, "pixel", pixel, 2);
  check_dtype(op, "pixel", pixel, at::kInt);
  check_size(op, "pixel", pixel, 1, 2);
  check_row_count(op, "pixel", pixel.size(0));
  check_same_device(op, "pixel", pixel, with_name, with);
}

void check_batch_index(const char* op, const at::Tensor& batch_index, const at::Tensor& pixel) {
  check_dim(op, "batch_index", batch_index, 1);
  check_dtype(op, "batch_index", batch_index, at::kLong);
  check_size(op, "batch_index", batch_index, 0, pixel.size(0));
  check_same_device(op, "batch_index", batch_index, "pixel", pixel);
}

// A map [B, C, h, w] has as many cells as fit in an int32; returns their number.
int64_t checked_num_cells(const char* op, const char* name, at::IntArrayRef shape) {
  TORCH_CHECK_VALUE(shape[0] >= 0 && shape[1] >= 1 && shape[2] >= 1 && shape[3] >= 1, op, ": `",
                    name, "` must have at least one channel, row and column, got shape ", shape);
  const int64_t cells = saturating_product(saturating_product(shape[0], shape[2]), shape[3]);
  check_row_count(op, name, cells);
  return cells;
}

PatchMap map_of(const at::Tensor& t, int32_t height, int32_t width) {
  return {t.size(0),   t.size(1),   t.size(2),   t.size(3), t.stride(0),
          t.stride(1), t.stride(2), t.stride(3), height,    width};
}

struct PatchToPoint {
  static constexpr auto kName = "patch_to_point";
  using Result = std::tuple<at::Tensor, at::Tensor>;

  at::Tensor patches;      // [B, C, h, w], of any strides
  at::Tensor pixel;        // [P, 2]
  at::Tensor batch_index;  // [P]
  int32_t height, width;

  static PatchToPoint check(const at::Tensor& patch_features, const at::Tensor& pixel,
                            const at::Tensor& batch_index, int64_t height, int64_t width) {
    check_dim(kName, "patch_features", patch_features, 4);
    check_floating(kName, "patch_features", patch_features);
    checked_num_cells(kName, "patch_features", patch_features.sizes());
    check_pixel(kName, pixel, "patch_features", patch_features);
    check_batch_index(kName, batch_index, pixel);
    check_image_size(kName, height, width);
    return {patch_features, pixel.contiguous(), batch_index.contiguous(),
            static_cast<int32_t>(height), static_cast<int32_t>(width)};
  }

  Result run_cpu() const {
    const bool is_double = patches.scalar_type() == at::kDouble;
    const at::Tensor computed = patches.to(is_double ? at::kDouble : at::kFloat);  // of any strides
    const PatchMap map = map_of(computed, height, width);
    check_range(map);
    at::Tensor out = empty({num_points(), map.channels}, computed.options());
    at::Tensor cell = empty({num_points()}, pixel.options());
    dispatch_cpu(computed.scalar_type(), [&](auto number) {
      using T = decltype(number);
      cpu::patch_to_point(data<T>(computed), map, data<int32_t>(pixel), data<int64_t>(batch_index),
                          num_points(), mutable_data<T>(out), mutable_data<int32_t>(cell));
    });
    return {out.to(patches.scalar_type()), cell};
  }

#ifdef ELITE_WITH_CUDA
  Result run_cuda() const {
    at::Tensor out = empty({num_points(), patches.size(1)}, patches.options());
    at::Tensor cell = empty({num_points()}, pixel.options());
    dispatch_cuda(patches.scalar_type(), [&](auto number) {
      using T = decltype(number);
      C10_CUDA_CHECK(cuda::patch_to_point(
          data<T>(patches), map_of(patches, height, width), data<int32_t>(pixel),
          data<int64_t>(batch_index), num_points(), mutable_data<T>(out),
          mutable_data<int32_t>(cell), device_error_flag(ErrorSource::kPatchToPoint),
          c10::cuda::getCurrentCUDAStream()));
    });
    return {out, cell};
  }
#endif

 private:
  int64_t num_points() const { return pixel.size(0); }

  void check_range(const PatchMap& map) const {
    const auto* pixels = data<int32_t>(pixel);
    const auto* images = data<int64_t>(batch_index);
    const int64_t p = cpu::first_outside(pixels, images, num_points(), map);
    TORCH_CHECK_INDEX(p < 0, kName, ": `pixel` must lie inside one of ", map.batch, " images of ",
                      height, " x ", width, " pixels, got (", pixels[2 * p], ", ",
                      pixels[2 * p + 1], ") of image ", images[p], " in row ", p);
  }
};

struct PatchToPointBackward {
  static constexpr auto kName = "patch_to_point_backward";

  at::Tensor grad_out;  // [P, C]
  at::Tensor pixel;     // [P, 2]
  at::Tensor order;     // [P]: the points by cell
  at::Tensor offsets;   // [B * h * w + 1]
  at::IntArrayRef patch_shape;
  int32_t height, width;
  bool channels_last;

  static PatchToPointBackward check(const at::Tensor& grad_out, const at::Tensor& pixel,
                                    const at::Tensor& batch_index, const at::Tensor& order,
                                    const at::Tensor& offsets, at::IntArrayRef patch_shape,
                                    int64_t height, int64_t width, bool channels_last) {
    TORCH_CHECK_VALUE(patch_shape.size() == 4, kName, ": `patch_shape` must have 4 sizes, got ",
                      patch_shape);
    const int64_t num_cells = checked_num_cells(kName, "patch_shape", patch_shape);
    check_dim(kName, "grad_out", grad_out, 2);
    check_floating(kName, "grad_out", grad_out);
    check_size(kName, "grad_out", grad_out, 1, patch_shape[1]);
    check_pixel(kName, pixel, "grad_out", grad_out);
    check_size(kName, "pixel", pixel, 0, grad_out.size(0));
    check_batch_index(kName, batch_index, pixel);
    check_dim(kName, "order", order, 1);
    check_dtype(kName, "order", order, at::kInt);
    check_size(kName, "order", order, 0, grad_out.size(0));
    check_same_device(kName, "order", order, "grad_out", grad_out);
    check_dim(kName, "offsets", offsets, 1);
    check_dtype(kName, "offsets", offsets, at::kInt);
    check_size(kName, "offsets", offsets, 0, num_cells + 1);
    check_same_device(kName, "offsets", offsets, "grad_out", grad_out);
    check_image_size(kName, height, width);
    return {grad_out.contiguous(),       pixel.contiguous(), order.contiguous(),
            offsets.contiguous(),        patch_shape,        static_cast<int32_t>(height),
            static_cast<int32_t>(width), channels_last};
  }

  at::Tensor run_cpu() const {
    const at::Tensor computed = as_computed(grad_out);
    at::Tensor grad_patches = allocate(computed);
    dispatch_cpu(computed.scalar_type(), [&](auto number) {
      using T = decltype(number);
      cpu::patch_to_point_backward(data<T>(computed), data<int32_t>(pixel), data<int32_t>(order),
                                   data<int32_t>(offsets), map_of(grad_patches, height, width),
                                   mutable_data<T>(grad_patches));
    });
    return grad_patches.to(grad_out.scalar_type());
  }

#ifdef ELITE_WITH_CUDA
  at::Tensor run_cuda() const {
    at::Tensor grad_patches = allocate(grad_out);
    dispatch_cuda(grad_out.scalar_type(), [&](auto number) {
      using T = decltype(number);
      C10_CUDA_CHECK(cuda::patch_to_point_backward(
          data<T>(grad_out), data<int32_t>(pixel), data<int32_t>(order), data<int32_t>(offsets),
          map_of(grad_patches, height, width), mutable_data<T>(grad_patches),
          c10::cuda::getCurrentCUDAStream()));
    });
    return grad_patches;
  }
#endif

 private:
  at::Tensor allocate(const at::Tensor& like) const {
    const auto layout =
        channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
    return empty(patch_shape, like.options(), layout);
  }
};

}  // namespace

ELITE_OP(PatchToPoint,
         "patch_to_point(Tensor patch_features, Tensor pixel, Tensor batch_index, int height, "
         "int width) -> (Tensor out, Tensor cell)");
// batch_index is for the derivative alone.
ELITE_OP(PatchToPointBackward,
         "patch_to_point_backward(Tensor grad_out, Tensor pixel, Tensor batch_index, Tensor order, "
         "Tensor offsets, SymInt[] patch_shape, int height, int width, bool channels_last) "
         "-> Tensor");

}  // namespace elite_ops
