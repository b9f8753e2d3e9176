"""Features of voxels from the points in them, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from elite_ops.ops.segments import Segments
from elite_ops.registration import register_autograd, register_fake

__all__ = ["encode_voxels"]


def encode_voxels(
    points: Tensor,  # [N, 3 + F] float32: x, y, z (m), and further features
    segments: Segments,  # the points of each of V voxels
    indices: Tensor,  # [V, 4] int32: batch, x, y, z
    weight: Tensor,  # [9 + F, C]
    bias: Tensor,  # [C]
    *,
    voxel_size: Sequence[float],
    origin: Sequence[float],
    negative_slope: float = 0.0,
) -> Tensor:  # [V, C]
    """The mean over each voxel of `leaky_relu(describe(point) @ weight + bias)`.

    A point is described by its own columns, its offset from the mean of its voxel's points and its
    offset from its voxel's lower corner. Nothing as long as the points is written, and nothing is
    kept for the gradient, which describes the points again.

    Args:
        points: what the sensor measured.
        segments: from `voxelize` and `build_segments`; points of no segment are not read.
        indices: the cell of each voxel.
        weight: transposed against that of `torch.nn.Linear`; float32, float64, float16 or bfloat16.
        bias: of the same dtype.
        voxel_size: along x, y, z, in metres.
        origin: the lower corner of the grid, in metres.
        negative_slope: factor of negative sums; 1 means no activation, 0 ReLU.

    Returns:
        One row per voxel, of the dtype of `weight`, with sums in float32 at least; 0 for a voxel
        without points.

    Raises:
        ValueError: if shapes or devices don't fit together, `voxel_size` is not positive, a number
            is not finite in float32, or `points` requires a gradient; on CUDA, backward, also if
            `points` has more than 256 columns.
        TypeError: if a dtype is not the one above.

    *Differentiable:* in `weight` and `bias`, once.
    *Sync:* none.
    *Deterministic:* yes, bit for bit, whatever the number of threads.
    *Source:* the voxel features of 2DPASS (Yan et al., ECCV 2022), which ELiTe keeps.
    """
    if not isinstance(segments, Segments):
        raise TypeError(
            f"encode_voxels: `segments` must be Segments, got {type(segments).__name__}"
        )
    if isinstance(points, Tensor) and points.requires_grad:
        raise ValueError("encode_voxels: `points` must not require a gradient, it has none")
    out: Tensor = torch.ops.elite_ops.encode_voxels(
        points,
        segments.inverse,
        segments.order,
        segments.offsets,
        indices,
        weight,
        bias,
        voxel_size,
        origin,
        negative_slope,
        segments.num_rows,
    )
    return out


def _fake(
    points: Tensor,
    inverse: Tensor,
    order: Tensor,
    offsets: Tensor,
    indices: Tensor,
    weight: Tensor,
    bias: Tensor,
    voxel_size: Sequence[float],
    origin: Sequence[float],
    negative_slope: float,
    num_rows: Tensor | None = None,
) -> Tensor:
    return weight.new_empty(indices.shape[0], weight.shape[1])


def _fake_backward(grad_out: Tensor, *inputs: Any) -> tuple[Tensor, Tensor]:
    weight, bias = inputs[5:7]
    return weight.new_empty(weight.shape), bias.new_empty(bias.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.voxel_size, ctx.origin, ctx.negative_slope, num_rows = inputs
    ctx.save_for_backward(*tensors, num_rows)


def _backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
    *tensors, num_rows = ctx.saved_tensors
    grid = (ctx.voxel_size, ctx.origin, ctx.negative_slope)
    gradients = torch.ops.elite_ops.encode_voxels_backward(grad_out, *tensors, *grid, num_rows)
    return (*[None] * 5, *gradients, *[None] * 4)


register_fake("encode_voxels", _fake)
register_fake("encode_voxels_backward", _fake_backward)
register_autograd("encode_voxels", _backward, setup_context=_setup_context)
