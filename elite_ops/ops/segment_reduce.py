"""Sum, mean, maximum and minimum of the rows of each segment."""

from __future__ import annotations

from typing import Any, Literal, overload

import torch
from torch import Tensor

from elite_ops.ops.segments import Segments
from elite_ops.registration import register_autograd, register_fake

__all__ = ["segment_max", "segment_mean", "segment_min", "segment_sum"]


def segment_sum(
    src: Tensor,  # [N, C]
    segments: Segments,  # of N points in M segments
) -> Tensor:  # [M, C]
    """Adds up the rows of each segment, in the order of the points; an empty segment gives 0.

    Args:
        src: one row per point; float32, float64, float16 or bfloat16. Half types are accumulated
            in float32.
        segments: the points of each segment, from `build_segments`.

    Returns:
        One row per segment, in the dtype of `src`.

    Raises:
        TypeError: if `src` is not of a floating dtype.
        ValueError: if shapes or devices don't fit.

    *Differentiable:* in `src`, twice.
    *Sync:* none.
    *Deterministic:* yes, bit by bit, forward and backward.
    *Source:* CSR reduction; the gradient is `voxel_to_point`.
    """
    out: Tensor = torch.ops.elite_ops.segment_sum(src, *_tensors(segments), segments.num_rows)
    return out


def segment_mean(
    src: Tensor,  # [N, C]
    segments: Segments,  # of N points in M segments
) -> Tensor:  # [M, C]
    """Averages the rows of each segment; an empty segment gives 0.

    Args:
        src: one row per point; float32, float64, float16 or bfloat16. Half types are accumulated
            in float32.
        segments: the points of each segment, from `build_segments`.

    Returns:
        One row per segment, in the dtype of `src`.

    Raises:
        TypeError: if `src` is not of a floating dtype.
        ValueError: if shapes or devices don't fit.

    *Differentiable:* in `src`, twice.
    *Sync:* none.
    *Deterministic:* yes, bit by bit, forward and backward.
    *Source:* CSR reduction.
    """
    out: Tensor = torch.ops.elite_ops.segment_mean(src, *_tensors(segments), segments.num_rows)
    return out


@overload
def segment_max(
    src: Tensor, segments: Segments, *, return_indices: Literal[False] = ...
) -> Tensor: ...
@overload
def segment_max(
    src: Tensor, segments: Segments, *, return_indices: Literal[True]
) -> tuple[Tensor, Tensor]: ...
def segment_max(
    src: Tensor,  # [N, C]
    segments: Segments,  # of N points in M segments
    *,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:  # [M, C], and [M, C] int32
    """Takes the largest value of each channel in each segment; an empty segment gives 0.

    NaN counts as larger than every number. Of equal values the first point is taken, and it alone
    gets the gradient.

    Args:
        src: one row per point; float32, float64, float16 or bfloat16.
        segments: the points of each segment, from `build_segments`.
        return_indices: whether to return also which point each value is of.

    Returns:
        One row per segment, in the dtype of `src`; and, if asked for, the point that each value is
        of, -1 where a segment is empty.

    Raises:
        TypeError: if `src` is not of a floating dtype.
        ValueError: if shapes or devices don't fit.

    *Differentiable:* in `src`, twice.
    *Sync:* none.
    *Deterministic:* yes, bit by bit, forward and backward.
    *Source:* CSR reduction; the gradient goes to the point that was taken.
    """
    out, points = torch.ops.elite_ops.segment_max(src, *_tensors(segments))
    return (out, points) if return_indices else out


@overload
def segment_min(
    src: Tensor, segments: Segments, *, return_indices: Literal[False] = ...
) -> Tensor: ...
@overload
def segment_min(
    src: Tensor, segments: Segments, *, return_indices: Literal[True]
) -> tuple[Tensor, Tensor]: ...
def segment_min(
    src: Tensor,  # [N, C]
    segments: Segments,  # of N points in M segments
    *,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:  # [M, C], and [M, C] int32
    """Takes the smallest value of each channel in each segment; an empty segment gives 0.

    NaN counts as smaller than every number. Of equal values the first point is taken, and it alone
    gets the gradient.

    Args:
        src: one row per point; float32, float64, float16 or bfloat16.
        segments: the points of each segment, from `build_segments`.
        return_indices: whether to return also which point each value is of.

    Returns:
        One row per segment, in the dtype of `src`; and, if asked for, the point that each value is
        of, -1 where a segment is empty.

    Raises:
        TypeError: if `src` is not of a floating dtype.
        ValueError: if shapes or devices don't fit.

    *Differentiable:* in `src`, twice.
    *Sync:* none.
    *Deterministic:* yes, bit by bit, forward and backward.
    *Source:* CSR reduction; the gradient goes to the point that was taken.
    """
    out, points = torch.ops.elite_ops.segment_min(src, *_tensors(segments))
    return (out, points) if return_indices else out


def _tensors(segments: Segments) -> tuple[Tensor, Tensor, Tensor]:
    return segments.inverse, segments.order, segments.offsets


def _fake(
    src: Tensor, inverse: Tensor, order: Tensor, offsets: Tensor, num_rows: Tensor | None = None
) -> Tensor:
    return src.new_empty(offsets.shape[0] - 1, src.shape[1])


def _fake_max(
    src: Tensor, inverse: Tensor, order: Tensor, offsets: Tensor
) -> tuple[Tensor, Tensor]:
    out = src.new_empty(offsets.shape[0] - 1, src.shape[1])
    return out, out.new_empty(out.shape, dtype=torch.int32)


def _fake_mean_backward(
    grad_out: Tensor, inverse: Tensor, order: Tensor, offsets: Tensor
) -> Tensor:
    return grad_out.new_empty(inverse.shape[0], grad_out.shape[1])


def _fake_max_backward(grad_out: Tensor, argmax: Tensor, inverse: Tensor) -> Tensor:
    return grad_out.new_empty(inverse.shape[0], grad_out.shape[1])


def _fake_take(src: Tensor, argmax: Tensor, inverse: Tensor) -> Tensor:
    return src.new_empty(argmax.shape)


def _setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[1:4])


def _setup_context_max(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    argmax = output[1]
    ctx.mark_non_differentiable(argmax)
    ctx.save_for_backward(argmax, inputs[1])


def _backward_sum(ctx: Any, grad_out: Tensor) -> tuple[Tensor, None, None, None, None]:
    grad_src = torch.ops.elite_ops.voxel_to_point(grad_out, *ctx.saved_tensors)
    return grad_src, None, None, None, None


def _backward_mean(ctx: Any, grad_out: Tensor) -> tuple[Tensor, None, None, None, None]:
    grad_src = torch.ops.elite_ops.segment_mean_backward(grad_out, *ctx.saved_tensors)
    return grad_src, None, None, None, None


def _backward_mean_backward(ctx: Any, grad_grad: Tensor) -> tuple[Tensor, None, None, None]:
    """The mean is linear: the gradient of its gradient is the mean itself."""
    grad = torch.ops.elite_ops.segment_mean(grad_grad, *ctx.saved_tensors)
    return grad, None, None, None


def _setup_context_places(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[1:])


def _backward_max(ctx: Any, grad_out: Tensor, _: Any) -> tuple[Tensor, None, None, None]:
    grad_src = torch.ops.elite_ops.segment_max_backward(grad_out, *ctx.saved_tensors)
    return grad_src, None, None, None


def _backward_max_backward(ctx: Any, grad_grad: Tensor) -> tuple[Tensor, None, None]:
    """What went to a point comes from there: the transpose, and its transpose in turn."""
    return torch.ops.elite_ops.segment_take(grad_grad, *ctx.saved_tensors), None, None


def _backward_take(ctx: Any, grad_out: Tensor) -> tuple[Tensor, None, None]:
    return torch.ops.elite_ops.segment_max_backward(grad_out, *ctx.saved_tensors), None, None


register_fake("segment_sum", _fake)
register_fake("segment_mean", _fake)
register_fake("segment_max", _fake_max)
register_fake("segment_min", _fake_max)
register_fake("segment_take", _fake_take)
register_fake("segment_mean_backward", _fake_mean_backward)
register_fake("segment_max_backward", _fake_max_backward)
register_autograd("segment_sum", _backward_sum, setup_context=_setup_context)
register_autograd("segment_mean", _backward_mean, setup_context=_setup_context)
register_autograd("segment_mean_backward", _backward_mean_backward, setup_context=_setup_context)
register_autograd("segment_max", _backward_max, setup_context=_setup_context_max)
register_autograd("segment_min", _backward_max, setup_context=_setup_context_max)
register_autograd(
    "segment_max_backward", _backward_max_backward, setup_context=_setup_context_places
)
register_autograd("segment_take", _backward_take, setup_context=_setup_context_places)
