"""Sparse convolution over a kernel map."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from elite_ops.autocast import autocast
from elite_ops.kernel_map import KernelMap
from elite_ops.registration import register_autograd, register_fake

__all__ = ["sparse_conv", "sparse_conv_fused"]


def sparse_conv(
    features: Tensor,  # [V_in, C_in]
    weight: Tensor,  # [K, C_in, C_out]
    kernel_map: KernelMap,
    bias: Tensor | None = None,  # [C_out]
) -> Tensor:  # [V_out, C_out]
    """Convolves the features of the voxels of one grid into those of another.

    `out[i] = bias + sum_k features[in_rows[k, i]] @ weight[k]` over the offsets k under which
    output voxel i meets an input voxel. Sums are formed in float32 (float64 for float64). Under
    autocast all tensors but those of float64 take its dtype.

    Args:
        features: one row per input voxel.
        weight: one matrix per kernel offset, in the order of `kernel_map`.
        kernel_map: which input row meets which output row, from `build_kernel_map`.
        bias: added to every output row.

    Returns:
        One row per output voxel, of the dtype of `features`.

    Raises:
        ValueError: if shapes or devices don't fit together, or not all rows of the map are
            valid (`KernelMap.num_rows`).
        TypeError: if dtypes differ or are not floating.
        IndexError: if the map names a row that does not exist (on CUDA: see `check_device_errors`).

    *Differentiable:* yes, in `features`, `weight` and `bias`, any number of times.
    *Sync:* none.
    *Deterministic:* yes, bit for bit, whatever the number of threads; gradients too.
    *Source:* Graham et al., Submanifold sparse convolutional networks, CVPR 2018.
    """
    kernel_map.check_not_padded("sparse_conv")
    features, weight, bias = autocast(features, weight, bias)
    out: Tensor = torch.ops.elite_ops.sparse_conv(
        features,
        weight,
        bias,
        kernel_map.in_rows,
        kernel_map.out_rows_for(features),
        kernel_map.symmetric,
        *_row_order(kernel_map),
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
        kernel_map.in_rows,
        residual,
        negative_slope,
        *_row_order(kernel_map),
        shortcut=shortcut_features,
        shortcut_weight=shortcut_weight,
        num_rows=kernel_map.num_rows,
    )
    return out


def _row_order(kernel_map: KernelMap) -> tuple[Tensor | None, Tensor | None]:
    row_order = kernel_map.row_order
    return (None, None) if row_order is None else (row_order.order, row_order.in_rows)


def _fake(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    in_rows: Tensor,
    *rest: Any,
) -> Tensor:
    return features.new_empty(in_rows.shape[1], weight.shape[2])


def _fake_backward_weight(
    features: Tensor, grad_out: Tensor, in_rows: Tensor, out_rows: Tensor | None, symmetric: bool
) -> Tensor:
    return features.new_empty(in_rows.shape[0], features.shape[1], grad_out.shape[1])


def _swapped_weight(weight: Tensor, symmetric: bool) -> Tensor:
    """The weight that carries output rows back to input rows, along `out_rows`."""
    return (weight.flip(0) if symmetric else weight).transpose(1, 2)


def _out_rows(out_rows: Tensor | None, in_rows: Tensor, features: Tensor) -> Tensor:
    """Made here where a gradient turns out to need them, as a second derivative may."""
    if out_rows is not None:
        return out_rows
    swapped: Tensor = torch.ops.elite_ops.swap_kernel_map(in_rows, features.shape[0])
    return swapped


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    features, weight, _, in_rows, out_rows, symmetric, order, ordered_rows = inputs
    # Only a symmetric map's `out_rows` have their columns in the same order.
    row_order = (order, ordered_rows) if symmetric else (None, None)
    ctx.save_for_backward(features, weight, in_rows, out_rows, *row_order)
    ctx.symmetric = symmetric


def _backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
    features, weight, in_rows, out_rows, *row_order = ctx.saved_tensors
    ops = torch.ops.elite_ops
    grad_features = grad_weight = grad_bias = None
    if ctx.needs_input_grad[0]:
        out_rows = _out_rows(out_rows, in_rows, features)
        back = _swapped_weight(weight, ctx.symmetric)
        grad_features = ops.sparse_conv(
            grad_out, back, None, out_rows, in_rows, ctx.symmetric, *row_order
        )
    if ctx.needs_input_grad[1]:
        grad_weight = ops.sparse_conv_backward_weight(
            features, grad_out, in_rows, out_rows, ctx.symmetric
        )
    if ctx.needs_input_grad[2]:
        grad_bias = grad_out.sum(0)
    return grad_features, grad_weight, grad_bias, None, None, None, None, None


def _setup_context_of_weight(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.symmetric = inputs
    ctx.save_for_backward(*tensors)


def _backward_of_weight(ctx: Any, grad_weight_grad: Tensor) -> tuple[Tensor | None, ...]:
    """The weight gradient is bilinear too: both of its derivatives are convolutions."""
    features, grad_out, in_rows, out_rows = ctx.saved_tensors
    out_rows = _out_rows(out_rows, in_rows, features)
    sparse_conv = torch.ops.elite_ops.sparse_conv
    back = _swapped_weight(grad_weight_grad, ctx.symmetric)
    return (
        sparse_conv(grad_out, back, None, out_rows, in_rows, ctx.symmetric),
        sparse_conv(features, grad_weight_grad, None, in_rows, out_rows, ctx.symmetric),
        None,
        None,
        None,
    )


register_fake("sparse_conv", _fake)
register_fake("sparse_conv_backward_weight", _fake_backward_weight)
register_fake("sparse_conv_fused", _fake)
register_autograd("sparse_conv", _backward, setup_context=_setup_context)
register_autograd(
    "sparse_conv_backward_weight",
    _backward_of_weight,
    setup_context=_setup_context_of_weight,
)
