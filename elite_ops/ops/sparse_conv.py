"""Sparse convolution over a kernel map."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from elite_ops.kernel_map import KernelMap

__all__ = ["sparse_conv", "sparse_conv_fused"]


def sparse_conv(
    features: Tensor,  # [V_in, C_in]
    weight: Tensor,  # [K, C_in, C_out]
    kernel_map: KernelMap,
    bias: Tensor | None = None,  # [C_out]
) -> Tensor:  # [V_out, C_out]
    """Convolves the features of the voxels of one grid into those of another.

    `out[i] = bias + sum_k features[neighbors[k, i]] @ weight[k]` over the offsets k under which
    output voxel i has a neighbour. Sums are formed in float32 (float64 for float64). Under autocast
    all tensors take its dtype.

    Args:
        features: one row per input voxel.
        weight: one matrix per kernel offset, in the order of `kernel_map`.
        kernel_map: which input row meets which output row, from `build_kernel_map`.
        bias: added to every output row.

    Returns:
        One row per output voxel, of the dtype of `features`.

    Raises:
        ValueError: if shapes or devices don't fit together, or not all rows of the map are
            true (`KernelMap.num_rows`).
        TypeError: if dtypes differ or are not floating.
        IndexError: if the map names a row that does not exist (on CUDA: see `check_device_errors`).

    *Differentiable:* yes, in `features`, `weight` and `bias`, any number of times.
    *Sync:* none.
    *Deterministic:* yes, bit for bit, whatever the number of threads; gradients too.
    *Source:* Graham et al., Submanifold sparse convolutional networks, CVPR 2018.
    """
    if kernel_map.num_rows is not None:
        raise ValueError("sparse_conv: `kernel_map` must have true rows alone, got a counted one")
    if torch.is_autocast_enabled(features.device.type):
        dtype = torch.get_autocast_dtype(features.device.type)
        features, weight = features.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    out: Tensor = torch.ops.elite_ops.sparse_conv(
        features,
        weight,
        bias,
        kernel_map.neighbors,
        kernel_map.transposed,
        kernel_map.mirrored,
        *_groups(kernel_map),
    )
    return out


def sparse_conv_fused(
    features: Tensor,  # [V_in, C_in]
    weight: Tensor,  # [K, C_in, C_out]
    kernel_map: KernelMap,
    bias: Tensor,  # [C_out]
    *,
    residual: Tensor | None = None,  # [V_out, C_out]
    shortcut: tuple[Tensor, Tensor] | None = None,  # ([V_out, C], [C, C_out])
    negative_slope: float = 1.0,
) -> Tensor:  # [V_out, C_out]
    """`leaky_relu(sparse_conv(features, weight, kernel_map, bias) + residual)` in one pass.

    For inference, with batch normalization folded into `weight` and `bias`. A residual that is a
    linear map itself goes in as a `shortcut`, and is then never written.

    Args:
        features: one row per input voxel.
        weight: one matrix per kernel offset, in the order of `kernel_map`.
        kernel_map: which input row meets which output row, from `build_kernel_map`. With
            `kernel_map.num_rows`, output rows from there on are left undefined.
        bias: added to every output row.
        residual: added to the sum before the activation.
        shortcut: features and a weight whose product is added likewise.
        negative_slope: factor of negative sums; 1 means no activation, 0 ReLU.

    Returns:
        One row per output voxel, of the dtype of `features`.

    Raises:
        RuntimeError: if a gradient would be needed.
        ValueError: if shapes or devices don't fit together.
        TypeError: if dtypes differ or are not floating.
        IndexError: if the map names a row that does not exist (on CUDA: see `check_device_errors`).

    *Differentiable:* no.
    *Sync:* none.
    *Deterministic:* yes, bit for bit, whatever the number of threads.
    *Source:* Graham et al., Submanifold sparse convolutional networks, CVPR 2018.
    """
    shortcut_features, shortcut_weight = shortcut or (None, None)
    tensors = [features, weight, bias, residual, shortcut_features, shortcut_weight]
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        raise RuntimeError(
            "sparse_conv_fused: has no gradient; call it under torch.no_grad() or use sparse_conv"
        )
    out: Tensor = torch.ops.elite_ops.sparse_conv_fused(
        features,
        weight,
        bias,
        kernel_map.neighbors,
        residual,
        negative_slope,
        *_groups(kernel_map),
        shortcut=shortcut_features,
        shortcut_weight=shortcut_weight,
        num_rows=kernel_map.num_rows,
    )
    return out


def _groups(kernel_map: KernelMap) -> tuple[Tensor | None, Tensor | None]:
    groups = kernel_map.groups
    return (None, None) if groups is None else (groups.order, groups.neighbors)


def _fake(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    neighbors: Tensor,
    transposed: Tensor,
    mirrored: bool,
    order: Tensor | None = None,
    grouped: Tensor | None = None,
) -> Tensor:
    return features.new_empty(neighbors.shape[1], weight.shape[2])


def _fake_backward_weight(
    features: Tensor, grad_out: Tensor, neighbors: Tensor, transposed: Tensor, mirrored: bool
) -> Tensor:
    return features.new_empty(neighbors.shape[0], features.shape[1], grad_out.shape[1])


def _fake_fused(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    neighbors: Tensor,
    residual: Tensor | None,
    negative_slope: float,
    order: Tensor | None = None,
    grouped: Tensor | None = None,
    variant: int = 0,
    shortcut: Tensor | None = None,
    shortcut_weight: Tensor | None = None,
    num_rows: Tensor | None = None,
) -> Tensor:
    return features.new_empty(neighbors.shape[1], weight.shape[2])


def _transpose(weight: Tensor, mirrored: bool) -> Tensor:
    """The weight that carries output rows back to input rows, along the transposed table."""
    return (weight.flip(0) if mirrored else weight).transpose(1, 2)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    features, weight, _, neighbors, transposed, mirrored, order, grouped = inputs
    # Only a mirrored map's transposed table has its columns in the same groups.
    groups = (order, grouped) if mirrored else (None, None)
    ctx.save_for_backward(features, weight, neighbors, transposed, *groups)
    ctx.mirrored = mirrored


def _backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
    features, weight, neighbors, transposed, *groups = ctx.saved_tensors
    ops = torch.ops.elite_ops
    grad_features = grad_weight = grad_bias = None
    if ctx.needs_input_grad[0]:
        back = _transpose(weight, ctx.mirrored)
        grad_features = ops.sparse_conv(
            grad_out, back, None, transposed, neighbors, ctx.mirrored, *groups
        )
    if ctx.needs_input_grad[1]:
        grad_weight = ops.sparse_conv_backward_weight(
            features, grad_out, neighbors, transposed, ctx.mirrored
        )
    if ctx.needs_input_grad[2]:
        grad_bias = grad_out.sum(0)
    return grad_features, grad_weight, grad_bias, None, None, None, None, None


def _setup_context_of_weight(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.mirrored = inputs
    ctx.save_for_backward(*tensors)


def _backward_of_weight(ctx: Any, grad_weight_grad: Tensor) -> tuple[Tensor | None, ...]:
    """The weight gradient is bilinear too: both of its derivatives are convolutions."""
    features, grad_out, neighbors, transposed = ctx.saved_tensors
    sparse_conv = torch.ops.elite_ops.sparse_conv
    back = _transpose(grad_weight_grad, ctx.mirrored)
    return (
        sparse_conv(grad_out, back, None, transposed, neighbors, ctx.mirrored),
        sparse_conv(features, grad_weight_grad, None, neighbors, transposed, ctx.mirrored),
        None,
        None,
        None,
    )


torch.library.register_fake("elite_ops::sparse_conv", _fake)
torch.library.register_fake("elite_ops::sparse_conv_backward_weight", _fake_backward_weight)
torch.library.register_fake("elite_ops::sparse_conv_fused", _fake_fused)
torch.library.register_autograd("elite_ops::sparse_conv", _backward, setup_context=_setup_context)
torch.library.register_autograd(
    "elite_ops::sparse_conv_backward_weight",
    _backward_of_weight,
    setup_context=_setup_context_of_weight,
)
