"""The softmax over the points of each segment, and the logarithm of its denominator."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from elite_ops.ops.segments import Segments
from elite_ops.registration import register_autograd, register_fake

__all__ = ["segment_logsumexp", "segment_softmax"]


def segment_softmax(
    src: Tensor,  # [N, C]
    segments: Segments,  # of N points in M segments
) -> Tensor:  # [N, C]
    """Divides the exponential of each value by the sum of those of its channel and segment.

    No exponential overflows. What is infinite or NaN gives what `torch.softmax` makes of it, within
    its channel and segment. Points in no segment give 0.

    Args:
        src: one row per point; float32, float64, float16 or bfloat16. Half types are computed in
            float32.
        segments: the points of each segment, from `build_segments`.

    Returns:
        One row per point, in the dtype of `src`.

    Raises:
        TypeError: if `src` is not of a floating dtype.
        ValueError: if shapes or devices don't fit.

    *Differentiable:* in `src`, twice.
    *Sync:* none.
    *Deterministic:* yes, bit by bit, forward and backward.
    *Source:* softmax less the maximum; segment by segment (CPU), segments and then points (CUDA).
    """
    out: Tensor = torch.ops.elite_ops.segment_softmax(src, *_tensors(segments))
    return out


def segment_logsumexp(
    src: Tensor,  # [N, C]
    segments: Segments,  # of N points in M segments
) -> Tensor:  # [M, C]
    """The logarithm of the sum of the exponentials of each channel in each segment.

    No exponential overflows. An empty segment gives -inf, and so does one of -inf alone, whose
    gradient is NaN as that of `torch.logsumexp`.

    Args:
        src: one row per point; float32, float64, float16 or bfloat16. Half types are computed in
            float32.
        segments: the points of each segment, from `build_segments`.

    Returns:
        One row per segment, in the dtype of `src`.

    Raises:
        TypeError: if `src` is not of a floating dtype.
        ValueError: if shapes or devices don't fit.

    *Differentiable:* in `src`, twice.
    *Sync:* none.
    *Deterministic:* yes, bit by bit, forward and backward.
    *Source:* CSR reduction less the maximum; the gradient is `segment_softmax`.
    """
    out: Tensor = torch.ops.elite_ops.segment_logsumexp(src, *_tensors(segments))
    return out


def _tensors(segments: Segments) -> tuple[Tensor, Tensor, Tensor]:
    return segments.inverse, segments.order, segments.offsets


def _fake_softmax(src: Tensor, inverse: Tensor, order: Tensor, offsets: Tensor) -> Tensor:
    return src.new_empty(src.shape)


def _fake_softmax_backward(
    grad_out: Tensor, out: Tensor, inverse: Tensor, order: Tensor, offsets: Tensor
) -> Tensor:
    return out.new_empty(out.shape)


def _fake_logsumexp(src: Tensor, inverse: Tensor, order: Tensor, offsets: Tensor) -> Tensor:
    return src.new_empty(offsets.shape[0] - 1, src.shape[1])


def _setup_context_softmax(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(output, *inputs[1:])


def _setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward_softmax(ctx: Any, grad_out: Tensor) -> tuple[Tensor, None, None, None]:
    grad_src = torch.ops.elite_ops.segment_softmax_backward(grad_out, *ctx.saved_tensors)
    return grad_src, None, None, None


def _backward_softmax_backward(
    ctx: Any, grad_grad: Tensor
) -> tuple[Tensor, Tensor, None, None, None]:
    """Of out * (grad - sums of grad * out), which is symmetric in what it does to a gradient."""
    grad_out, out, *segments = ctx.saved_tensors
    ops = torch.ops.elite_ops

    def sums_at_points(rows: Tensor) -> Tensor:
        sums: Tensor = ops.voxel_to_point(ops.segment_sum(rows * out, *segments), *segments)
        return sums

    by_grad_out = ops.segment_softmax_backward(grad_grad, out, *segments)
    below_sum = grad_grad * (grad_out - sums_at_points(grad_out))
    by_out = below_sum - grad_out * sums_at_points(grad_grad)
    return by_grad_out, by_out, None, None, None


def _backward_logsumexp(ctx: Any, grad_out: Tensor) -> tuple[Tensor, None, None, None]:
    src, *segments = ctx.saved_tensors
    ops = torch.ops.elite_ops
    at_points = ops.voxel_to_point(grad_out, *segments)
    return at_points * ops.segment_softmax(src, *segments), None, None, None


register_fake("segment_softmax", _fake_softmax)
register_fake("segment_softmax_backward", _fake_softmax_backward)
register_fake("segment_logsumexp", _fake_logsumexp)
register_autograd("segment_softmax", _backward_softmax, setup_context=_setup_context_softmax)
register_autograd(
    "segment_softmax_backward",
    _backward_softmax_backward,
    setup_context=_setup_context,
)
register_autograd("segment_logsumexp", _backward_logsumexp, setup_context=_setup_context)
