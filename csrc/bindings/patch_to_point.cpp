#include "cpu/patch_to_point.h"

#include <ATen/Dispatch.h>
#include <torch/library.h>

#include <tuple>

#include "check.h"
#include "compute_type.h"
#include "empty.h"
#ifdef ELITE_WITH_CUDA
#include "cuda.h"
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

void check(const at::Tensor& patch_features, const at::Tensor& pixel, const at::Tensor& batch_index,
           int64_t height, int64_t width) {
  constexpr auto op = "patch_to_point";
  check_dim(op, "patch_features", patch_features, 4);
  check_floating(op, "patch_features", patch_features);
  TORCH_CHECK_VALUE(
      patch_features.size(1) >= 1 && patch_features.size(2) >= 1 && patch_features.size(3) >= 1, op,
      ": `patch_features` must have at least one channel, row and column, got shape ",
      patch_features.sizes());
  check_row_count(op, "patch_features",
                  patch_features.size(0) * patch_features.size(2) * patch_features.size(3));
  check_pixel(op, pixel, "patch_features", patch_features);
  check_dim(op, "batch_index", batch_index, 1);
  check_dtype(op, "batch_index", batch_index, at::kLong);
  check_size(op, "batch_index", batch_index, 0, pixel.size(0));
  check_same_device(op, "batch_index", batch_index, "patch_features", patch_features);
  check_image_size(op, height, width);
}

void check_backward(const at::Tensor& grad_out, const at::Tensor& pixel, const at::Tensor& order,
                    const at::Tensor& offsets, at::IntArrayRef patch_shape, int64_t height,
                    int64_t width) {
  constexpr auto op = "patch_to_point_backward";
  TORCH_CHECK_VALUE(patch_shape.size() == 4, op, ": `patch_shape` must have 4 sizes, got ",
                    patch_shape);
  check_dim(op, "grad_out", grad_out, 2);
  check_floating(op, "grad_out", grad_out);
  check_size(op, "grad_out", grad_out, 1, patch_shape[1]);
  check_pixel(op, pixel, "grad_out", grad_out);
  check_size(op, "pixel", pixel, 0, grad_out.size(0));
  check_dim(op, "order", order, 1);
  check_dtype(op, "order", order, at::kInt);
  check_size(op, "order", order, 0, grad_out.size(0));
  check_same_device(op, "order", order, "grad_out", grad_out);
  check_dim(op, "offsets", offsets, 1);
  check_dtype(op, "offsets", offsets, at::kInt);
  check_size(op, "offsets", offsets, 0, patch_shape[0] * patch_shape[2] * patch_shape[3] + 1);
  check_same_device(op, "offsets", offsets, "grad_out", grad_out);
  check_image_size(op, height, width);
}

PatchMap map_of(const at::Tensor& t, int64_t height, int64_t width) {
  return {t.size(0),
          t.size(1),
          t.size(2),
          t.size(3),
          t.stride(0),
          t.stride(1),
          t.stride(2),
          t.stride(3),
          static_cast<int32_t>(height),
          static_cast<int32_t>(width)};
}

void check_range(const int32_t* pixel, const int64_t* batch_index, int64_t num_points,
                 const PatchMap& map) {
  const int64_t p = cpu::first_outside(pixel, batch_index, num_points, map);
  TORCH_CHECK_INDEX(p < 0, "patch_to_point: `pixel` must lie inside one of ", map.batch,
                    " images of ", map.image_height, " x ", map.image_width, " pixels, got (",
                    pixel[2 * p], ", ", pixel[2 * p + 1], ") of image ", batch_index[p], " in row ",
                    p);
}

std::tuple<at::Tensor, at::Tensor> patch_to_point_cpu(const at::Tensor& patch_features,
                                                      const at::Tensor& pixel_,
                                                      const at::Tensor& batch_index_,
                                                      int64_t height, int64_t width) {
  check(patch_features, pixel_, batch_index_, height, width);
  const auto pixel = pixel_.contiguous(), batch_index = batch_index_.contiguous();
  const auto* pixels = pixel.const_data_ptr<int32_t>();
  const auto* images = batch_index.const_data_ptr<int64_t>();
  const int64_t num_points = pixel.size(0);
  check_range(pixels, images, num_points, map_of(patch_features, height, width));
  // Not as_computed, which would make the map contiguous.
  const bool is_double = patch_features.scalar_type() == at::kDouble;
  const auto patches = patch_features.to(is_double ? at::kDouble : at::kFloat);
  const PatchMap map = map_of(patches, height, width);
  auto out = empty({num_points, map.channels}, patches.options());
  auto cell = empty({num_points}, pixel.options());
  AT_DISPATCH_FLOATING_TYPES(patches.scalar_type(), "patch_to_point", [&] {
    cpu::patch_to_point(patches.const_data_ptr<scalar_t>(), map, pixels, images, num_points,
                        out.mutable_data_ptr<scalar_t>(), cell.mutable_data_ptr<int32_t>());
  });
  return {out.to(patch_features.scalar_type()), cell};
}

at::MemoryFormat layout(bool channels_last) {
  return channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
}

at::Tensor patch_to_point_backward_cpu(const at::Tensor& grad_out_, const at::Tensor& pixel_,
                                       const at::Tensor& order_, const at::Tensor& offsets_,
                                       at::IntArrayRef patch_shape, int64_t height, int64_t width,
                                       bool channels_last) {
  check_backward(grad_out_, pixel_, order_, offsets_, patch_shape, height, width);
  const auto grad_out = as_computed(grad_out_);
  const auto pixel = pixel_.contiguous(), order = order_.contiguous();
  const auto offsets = offsets_.contiguous();
  auto grad_patches = empty(patch_shape, grad_out.options(), layout(channels_last));
  const PatchMap map = map_of(grad_patches, height, width);
  AT_DISPATCH_FLOATING_TYPES(grad_out.scalar_type(), "patch_to_point_backward", [&] {
    cpu::patch_to_point_backward(grad_out.const_data_ptr<scalar_t>(),
                                 pixel.const_data_ptr<int32_t>(), order.const_data_ptr<int32_t>(),
                                 offsets.const_data_ptr<int32_t>(), map,
                                 grad_patches.mutable_data_ptr<scalar_t>());
  });
  return grad_patches.to(grad_out_.scalar_type());
}

#ifdef ELITE_WITH_CUDA
std::tuple<at::Tensor, at::Tensor> patch_to_point_cuda(const at::Tensor& patch_features,
                                                       const at::Tensor& pixel_,
                                                       const at::Tensor& batch_index_,
                                                       int64_t height, int64_t width) {
  check(patch_features, pixel_, batch_index_, height, width);
  const c10::cuda::CUDAGuard guard(patch_features.device());
  const auto pixel = pixel_.contiguous(), batch_index = batch_index_.contiguous();
  const int64_t num_points = pixel.size(0);
  auto out = empty({num_points, patch_features.size(1)}, patch_features.options());
  auto cell = empty({num_points}, pixel.options());
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, patch_features.scalar_type(), "patch_to_point", [&] {
        C10_CUDA_CHECK(cuda::patch_to_point(
            cuda_data<scalar_t>(patch_features), map_of(patch_features, height, width),
            pixel.const_data_ptr<int32_t>(), batch_index.const_data_ptr<int64_t>(), num_points,
            cuda_mutable_data<scalar_t>(out), cell.mutable_data_ptr<int32_t>(),
            device_error_flag(ErrorSource::kPatchToPoint), c10::cuda::getCurrentCUDAStream()));
      });
  return {out, cell};
}

at::Tensor patch_to_point_backward_cuda(const at::Tensor& grad_out_, const at::Tensor& pixel_,
                                        const at::Tensor& order_, const at::Tensor& offsets_,
                                        at::IntArrayRef patch_shape, int64_t height, int64_t width,
                                        bool channels_last) {
  check_backward(grad_out_, pixel_, order_, offsets_, patch_shape, height, width);
  const c10::cuda::CUDAGuard guard(grad_out_.device());
  const auto grad_out = grad_out_.contiguous(), pixel = pixel_.contiguous();
  const auto order = order_.contiguous(), offsets = offsets_.contiguous();
  auto grad_patches = empty(patch_shape, grad_out.options(), layout(channels_last));
  AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, grad_out.scalar_type(), "patch_to_point_backward", [&] {
        C10_CUDA_CHECK(cuda::patch_to_point_backward(
            cuda_data<scalar_t>(grad_out), pixel.const_data_ptr<int32_t>(),
            order.const_data_ptr<int32_t>(), offsets.const_data_ptr<int32_t>(),
            map_of(grad_patches, height, width), cuda_mutable_data<scalar_t>(grad_patches),
            c10::cuda::getCurrentCUDAStream()));
      });
  return grad_patches;
}
#endif

}  // namespace

TORCH_LIBRARY_FRAGMENT(elite_ops, m) {
  m.def(
      "patch_to_point(Tensor patch_features, Tensor pixel, Tensor batch_index, int height, "
      "int width) -> (Tensor out, Tensor cell)");
  m.def(
      "patch_to_point_backward(Tensor grad_out, Tensor pixel, Tensor order, Tensor offsets, "
      "SymInt[] patch_shape, int height, int width, bool channels_last) -> Tensor");
}
TORCH_LIBRARY_IMPL(elite_ops, CPU, m) {
  m.impl("patch_to_point", &patch_to_point_cpu);
  m.impl("patch_to_point_backward", &patch_to_point_backward_cpu);
}
#ifdef ELITE_WITH_CUDA
TORCH_LIBRARY_IMPL(elite_ops, CUDA, m) {
  m.impl("patch_to_point", &patch_to_point_cuda);
  m.impl("patch_to_point_backward", &patch_to_point_backward_cuda);
}
#endif

}  // namespace elite_ops
