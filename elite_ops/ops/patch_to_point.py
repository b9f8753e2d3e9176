"""Features of an image's patches at its pixels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from elite_ops.image_size import height_and_width
from elite_ops.ops.segments import build_segments
from elite_ops.registration import register_autograd, register_fake

__all__ = ["patch_to_point"]


def patch_to_point(
    patch_features: Tensor,  # [B, C, h, w]
    pixel: Tensor,  # [P, 2] int32 (row, col)
    batch_index: Tensor,  # [P] int64
    image_size: tuple[int, int],
) -> Tensor:  # [P, C]
    """What a map of patch features, resized bilinearly to the image, holds at some of its pixels.

    Equals `F.interpolate(patch_features, image_size, mode="bilinear", align_corners=False)` indexed
    at the pixels, but reads only the four patches around each: the resized map is never made. Any
    strides are read in place, channels_last fastest. Half types are blended in float32.

    Args:
        patch_features: one map for each image of the batch.
        pixel: pixels of the image, as `project_points` gives them.
        batch_index: each pixel's image.
        image_size: height and width of the images in pixels.

    Returns:
        The features of each pixel, in the dtype of `patch_features`.

    Raises:
        ValueError: if a shape does not fit, or B * h * w is 2^31 - 1 or more.
        TypeError: if a dtype is not the one above, or `patch_features` is not floating point.
        IndexError: if a pixel lies outside its image, or `batch_index` names no image. On CUDA the
            row is 0 instead, and `check_device_errors` reports it.

    Example:
        >>> patches = torch.tensor([[[[0.0, 4.0]]]])  # one image, one channel, 1 x 2 patches
        >>> pixel = torch.tensor([[0, 0], [0, 3], [0, 4]], dtype=torch.int32)
        >>> patch_to_point(patches, pixel, torch.zeros(3, dtype=torch.int64), (4, 8)).flatten()
        tensor([0.0000, 1.5000, 2.5000])

    *Differentiable:* in `patch_features`, any number of times.
    *Sync:* none.
    *Deterministic:* yes; in the gradient, a patch sums its points in a fixed order.
    *Source:* ELiTe (Zhang et al., ICME 2024), patch-to-point correspondence.
    """
    height, width = height_and_width("patch_to_point", image_size)
    out: Tensor
    out, _ = torch.ops.elite_ops.patch_to_point(patch_features, pixel, batch_index, height, width)
    return out


def _fake(
    patch_features: Tensor, pixel: Tensor, batch_index: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor]:
    num_points = pixel.shape[0]
    out = patch_features.new_empty(num_points, patch_features.shape[1])
    return out, pixel.new_empty(num_points)


def _fake_backward(
    grad_out: Tensor,
    pixel: Tensor,
    batch_index: Tensor,
    order: Tensor,
    offsets: Tensor,
    patch_shape: list[int],
    height: int,
    width: int,
    channels_last: bool,
) -> Tensor:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty(
        patch_shape, dtype=grad_out.dtype, device=grad_out.device, memory_format=layout
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    patch_features, pixel, batch_index, height, width = inputs
    _, cell = output  # the patch above and to the left of each pixel
    ctx.mark_non_differentiable(cell)
    ctx.save_for_backward(pixel, batch_index, cell)
    ctx.patch_shape = list(patch_features.shape)
    ctx.image_size = height, width
    ctx.channels_last = not patch_features.is_contiguous() and patch_features.is_contiguous(
        memory_format=torch.channels_last
    )


def _backward(ctx: Any, grad_out: Tensor, _grad_cell: Tensor) -> tuple[Tensor | None, ...]:
    pixel, batch_index, cell = ctx.saved_tensors
    batch, _, height, width = ctx.patch_shape
    by_cell = build_segments(cell, batch * height * width)
    grad_patches = torch.ops.elite_ops.patch_to_point_backward(
        grad_out,
        pixel,
        batch_index,
        by_cell.order,
        by_cell.offsets,
        ctx.patch_shape,
        *ctx.image_size,
        ctx.channels_last,
    )
    return grad_patches, None, None, None, None


def _setup_context_of_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, pixel, batch_index, _, _, _, height, width, _ = inputs
    ctx.save_for_backward(pixel, batch_index)
    ctx.image_size = height, width


def _backward_of_backward(ctx: Any, grad_patches: Tensor) -> tuple[Tensor | None, ...]:
    """The blend is linear: the derivative of its gradient is the blend itself."""
    gathered, _ = torch.ops.elite_ops.patch_to_point(
        grad_patches, *ctx.saved_tensors, *ctx.image_size
    )
    return gathered, *[None] * 8


register_fake("patch_to_point", _fake)
register_fake("patch_to_point_backward", _fake_backward)
register_autograd("patch_to_point", _backward, setup_context=_setup_context)
register_autograd(
    "patch_to_point_backward",
    _backward_of_backward,
    setup_context=_setup_context_of_backward,
)
