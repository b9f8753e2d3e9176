"""Rows of segments (voxels) copied to their points."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from elite_ops.ops.segments import Segments
from elite_ops.registration import register_autograd, register_fake

__all__ = ["gather_segments", "voxel_to_point"]


def voxel_to_point(
    features: Tensor,  # [M, C]
    segments: Segments,  # of N points in M voxels
) -> Tensor:  # [N, C]
    """Gives every point the row of its voxel, or of its segment; a point without one gets 0.

    `gather_segments` is the same function.

    Args:
        features: one row per voxel; float32, float64, float16 or bfloat16.
        segments: the points of each voxel, from `build_segments`.

    Returns:
        One row per point, in the dtype of `features`.

    Raises:
        TypeError: if `features` is not of a floating dtype.
        ValueError: if shapes or devices don't fit.

    *Differentiable:* in `features`, twice.
    *Sync:* none.
    *Deterministic:* yes, bit by bit, forward and backward.
    *Source:* row gather; the gradient is `segment_sum`.
    """
    out: Tensor = torch.ops.elite_ops.voxel_to_point(
        features, segments.inverse, segments.order, segments.offsets
    )
    return out


gather_segments = voxel_to_point


def _fake(features: Tensor, inverse: Tensor, order: Tensor, offsets: Tensor) -> Tensor:
    return features.new_empty(inverse.shape[0], features.shape[1])


def _setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[1:])


def _backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor, None, None, None]:
    grad_features = torch.ops.elite_ops.segment_sum(grad_out, *ctx.saved_tensors)
    return grad_features, None, None, None


register_fake("voxel_to_point", _fake)
register_autograd("voxel_to_point", _backward, setup_context=_setup_context)
