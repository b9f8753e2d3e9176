"""Maximum and mean of voxel features: over a kernel map, and over all voxels of a sample."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from elite_ops.kernel_map import KernelMap, given_out_rows
from elite_ops.ops.segment_reduce import segment_max, segment_mean
from elite_ops.ops.segments import Segments, build_segments
from elite_ops.registration import register_autograd, register_fake

__all__ = ["global_avg_pool", "global_max_pool", "sparse_avg_pool", "sparse_max_pool"]


def sparse_max_pool(
    features: Tensor,  # [V_in, C]
    kernel_map: KernelMap,
) -> Tensor:  # [V_out, C]
    """Takes the largest value of each channel among the input voxels that an output voxel meets.

    Cells without a voxel take no part: the maximum of negative features is negative. NaN counts as
    larger than every number. Of equal values that of the first offset is taken, and its voxel alone
    gets the gradient. An output voxel that meets nothing gets 0. Autocast leaves the dtype alone.

    Args:
        features: one row per input voxel; float32, float64, float16 or bfloat16.
        kernel_map: which input row meets which output row.

    Returns:
        One row per output voxel, of the dtype of `features`.

    Raises:
        ValueError: if shapes or devices don't fit together.
        TypeError: if `features` is not of a floating dtype.
        IndexError: if the map names a row that does not exist (on CUDA: see `check_device_errors`).

    *Differentiable:* in `features`, any number of times.
    *Sync:* none.
    *Deterministic:* yes, bit for bit, whatever the number of threads; gradients too.
    *Source:* `torch.nn.MaxPool3d` on the voxels that are there.
    """
    kernel_map.check_not_padded("sparse_max_pool")
    tables = (kernel_map.in_rows, kernel_map.out_rows_for(features))
    out: Tensor = torch.ops.elite_ops.sparse_max_pool(features, *tables)[0]
    return out


def sparse_avg_pool(
    features: Tensor,  # [V_in, C]
    kernel_map: KernelMap,
) -> Tensor:  # [V_out, C]
    """Averages the input voxels that an output voxel meets.

    The divisor is the number of voxels that are there: neither empty cells nor padding count. An
    output voxel that meets nothing gets 0. Sums are formed in float32 (float64 for float64).
    Autocast leaves the dtype alone.

    Args:
        features: one row per input voxel; float32, float64, float16 or bfloat16.
        kernel_map: which input row meets which output row.

    Returns:
        One row per output voxel, of the dtype of `features`.

    Raises:
        ValueError: if shapes or devices don't fit together.
        TypeError: if `features` is not of a floating dtype.
        IndexError: if the map names a row that does not exist (on CUDA: see `check_device_errors`).

    *Differentiable:* in `features`, any number of times.
    *Sync:* none.
    *Deterministic:* yes, bit for bit, whatever the number of threads; gradients too.
    *Source:* `torch.nn.AvgPool3d` on the voxels that are there.
    """
    kernel_map.check_not_padded("sparse_avg_pool")
    tables = (kernel_map.in_rows, kernel_map.out_rows_for(features))
    out: Tensor = torch.ops.elite_ops.sparse_avg_pool(features, *tables)[0]
    return out


def global_max_pool(
    features: Tensor,  # [V, C]
    indices: Tensor,  # [V, 4] int32
    batch_size: int,
) -> Tensor:  # [batch_size, C]
    """Takes the largest value of each channel among all voxels of each sample.

    As `segment_max` over the samples: NaN wins, the first of equals gets the gradient, and a sample
    without voxels gets 0.

    Args:
        features: one row per voxel; float32, float64, float16 or bfloat16.
        indices: batch, x, y, z of each voxel; only the batch index is read.
        batch_size: how many samples there are.

    Returns:
        One row per sample, of the dtype of `features`.

    Raises:
        TypeError: if `features` is not of a floating dtype, or `indices` not int32.
        ValueError: if shapes or devices don't fit, or `batch_size` is negative.
        IndexError: if a batch index is not below `batch_size` (on CUDA: see `check_device_errors`).

    *Differentiable:* in `features`, once.
    *Sync:* none.
    *Deterministic:* yes, bit by bit, forward and backward.
    *Source:* CSR reduction.
    """
    return segment_max(features, _samples("global_max_pool", features, indices, batch_size))


def global_avg_pool(
    features: Tensor,  # [V, C]
    indices: Tensor,  # [V, 4] int32
    batch_size: int,
) -> Tensor:  # [batch_size, C]
    """Averages all voxels of each sample; a sample without voxels gets 0.

    Args:
        features: one row per voxel; float32, float64, float16 or bfloat16. Half types are
            accumulated in float32.
        indices: batch, x, y, z of each voxel; only the batch index is read.
        batch_size: how many samples there are.

    Returns:
        One row per sample, of the dtype of `features`.

    Raises:
        TypeError: if `features` is not of a floating dtype, or `indices` not int32.
        ValueError: if shapes or devices don't fit, or `batch_size` is negative.
        IndexError: if a batch index is not below `batch_size` (on CUDA: see `check_device_errors`).

    *Differentiable:* in `features`, twice.
    *Sync:* none.
    *Deterministic:* yes, bit by bit, forward and backward.
    *Source:* CSR reduction.
    """
    return segment_mean(features, _samples("global_avg_pool", features, indices, batch_size))


def _samples(op: str, features: Tensor, indices: Tensor, batch_size: int) -> Segments:
    """The voxels of each sample."""
    if features.dim() != 2:
        raise ValueError(
            f"{op}: `features` must have 2 dimensions, got shape {list(features.shape)}"
        )
    if not features.is_floating_point():
        raise TypeError(f"{op}: `features` must be of a floating dtype, got {features.dtype}")
    if indices.dim() != 2 or indices.shape[0] != features.shape[0] or indices.shape[1] != 4:
        raise ValueError(
            f"{op}: `indices` must have shape [{features.shape[0]}, 4], "
            f"got shape {list(indices.shape)}"
        )
    if indices.dtype != torch.int32:
        raise TypeError(f"{op}: `indices` must be int32, got {indices.dtype}")
    if indices.device != features.device:
        raise ValueError(
            f"{op}: `indices` must be on the device of `features` ({features.device}), "
            f"got {indices.device}"
        )
    if batch_size < 0:
        raise ValueError(f"{op}: `batch_size` must be at least 0, got {batch_size}")
    return build_segments(indices[:, 0].contiguous(), batch_size)


def _fake_max(
    features: Tensor, in_rows: Tensor, out_rows: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    out = features.new_empty(in_rows.shape[1], features.shape[1])
    return out, out.new_empty(out.shape, dtype=torch.int32)


def _fake_max_backward(grad_out: Tensor, argmax: Tensor, out_rows: Tensor) -> Tensor:
    return grad_out.new_empty(out_rows.shape[1], grad_out.shape[1])


def _fake_max_take(features: Tensor, argmax: Tensor, out_rows: Tensor) -> Tensor:
    return features.new_empty(argmax.shape)


def _fake_avg(
    features: Tensor, in_rows: Tensor, out_rows: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    out = features.new_empty(in_rows.shape[1], features.shape[1])
    return out, out.new_empty(out.shape[:1], dtype=torch.int32)


def _fake_avg_backward(
    grad_out: Tensor, counts: Tensor, in_rows: Tensor, out_rows: Tensor
) -> Tensor:
    return grad_out.new_empty(out_rows.shape[1], grad_out.shape[1])


def _setup_context_max(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    argmax = output[1]
    ctx.mark_non_differentiable(argmax)
    ctx.save_for_backward(argmax, inputs[2])


def _backward_max(ctx: Any, grad_out: Tensor, _: Any) -> tuple[Tensor, None, None]:
    argmax, out_rows = ctx.saved_tensors
    out_rows = given_out_rows("sparse_max_pool", out_rows)
    grad = torch.ops.elite_ops.sparse_max_pool_backward(grad_out, argmax, out_rows)
    return grad, None, None


def _setup_context_of_winners(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[1:])


def _backward_max_backward(ctx: Any, grad_grad: Tensor) -> tuple[Tensor, None, None]:
    """Handing the gradients to the winners is linear; back, each takes what its winner got."""
    grad = torch.ops.elite_ops.sparse_max_pool_take(grad_grad, *ctx.saved_tensors)
    return grad, None, None


def _setup_context_avg(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    counts = output[1]
    ctx.mark_non_differentiable(counts)
    ctx.save_for_backward(counts, *inputs[1:])


def _backward_avg(ctx: Any, grad_out: Tensor, _: Any) -> tuple[Tensor, None, None]:
    counts, in_rows, out_rows = ctx.saved_tensors
    out_rows = given_out_rows("sparse_avg_pool", out_rows)
    grad = torch.ops.elite_ops.sparse_avg_pool_backward(grad_out, counts, in_rows, out_rows)
    return grad, None, None


def _setup_context_avg_backward(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[2:])


def _backward_avg_backward(ctx: Any, grad_grad: Tensor) -> tuple[Tensor, None, None, None]:
    """The mean is linear: the gradient of its gradient is the mean itself."""
    grad = torch.ops.elite_ops.sparse_avg_pool(grad_grad, *ctx.saved_tensors)[0]
    return grad, None, None, None


register_fake("sparse_max_pool", _fake_max)
register_fake("sparse_max_pool_backward", _fake_max_backward)
register_fake("sparse_max_pool_take", _fake_max_take)
register_fake("sparse_avg_pool", _fake_avg)
register_fake("sparse_avg_pool_backward", _fake_avg_backward)
register_autograd("sparse_max_pool", _backward_max, setup_context=_setup_context_max)
register_autograd(
    "sparse_max_pool_backward",
    _backward_max_backward,
    setup_context=_setup_context_of_winners,
)
register_autograd(
    "sparse_max_pool_take",
    lambda ctx, grad_out: _backward_max(ctx, grad_out, None),
    setup_context=_setup_context_of_winners,
)
register_autograd("sparse_avg_pool", _backward_avg, setup_context=_setup_context_avg)
register_autograd(
    "sparse_avg_pool_backward",
    _backward_avg_backward,
    setup_context=_setup_context_avg_backward,
)
