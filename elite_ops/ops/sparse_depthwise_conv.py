"""Sparse convolution of each channel by itself, over a kernel map."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from elite_ops.autocast import autocast
from elite_ops.kernel_map import KernelMap, given_out_rows
from elite_ops.registration import register_autograd, register_fake

__all__ = ["sparse_depthwise_conv"]


def sparse_depthwise_conv(
    features: Tensor,  # [V_in, C]
    weight: Tensor,  # [K, C]
    kernel_map: KernelMap,
    bias: Tensor | None = None,  # [C]
) -> Tensor:  # [V_out, C]
    """Convolves every channel of the input voxels with weights of its own.

    `out[i] = bias + sum_k features[in_rows[k, i]] * weight[k]` over the offsets k under which
    output voxel i meets an input voxel: `torch.nn.Conv3d` with as many groups as channels, where
    the other cells are zeros. Sums are formed in float32 (float64 for float64), in the order of k.
    Under autocast all tensors take its dtype, float64 aside.

    Args:
        features: one row per input voxel; float32, float64, float16 or bfloat16.
        weight: one row per kernel offset, in the order of `kernel_map`.
        kernel_map: which input row meets which output row.
        bias: added to every output row.

    Returns:
        One row per output voxel, of the dtype of `features`.

    Raises:
        ValueError: if shapes or devices don't fit together.
        TypeError: if dtypes differ or are not floating.
        IndexError: if the map names a row that does not exist (on CUDA: see `check_device_errors`).

    *Differentiable:* yes, in `features`, `weight` and `bias`, any number of times.
    *Sync:* none.
    *Deterministic:* yes, bit for bit, whatever the number of threads; gradients too.
    *Source:* Chollet, Xception, CVPR 2017, on the voxels of a sparse convolution.
    """
    kernel_map.check_not_padded("sparse_depthwise_conv")
    features, weight, bias = autocast(features, weight, bias)
    tables = (kernel_map.in_rows, kernel_map.out_rows_for(features), kernel_map.symmetric)
    out: Tensor = torch.ops.elite_ops.sparse_depthwise_conv(features, weight, bias, *tables)
    return out


def _fake(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    in_rows: Tensor,
    out_rows: Tensor | None,
    symmetric: bool,
) -> Tensor:
    return features.new_empty(in_rows.shape[1], features.shape[1])


def _fake_backward_weight(
    features: Tensor, grad_out: Tensor, in_rows: Tensor, out_rows: Tensor | None, symmetric: bool
) -> Tensor:
    return features.new_empty(in_rows.shape[0], features.shape[1])


def _carry_back(
    grad_out: Tensor, weight: Tensor, in_rows: Tensor, out_rows: Tensor | None, symmetric: bool
) -> Tensor:
    """What `weight` makes of output rows on their way to the input rows."""
    out_rows = given_out_rows("sparse_depthwise_conv", out_rows)
    weight = weight.flip(0) if symmetric else weight
    out: Tensor = torch.ops.elite_ops.sparse_depthwise_conv(
        grad_out, weight, None, out_rows, in_rows, symmetric
    )
    return out


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    features, weight, _, in_rows, out_rows, ctx.symmetric = inputs
    ctx.save_for_backward(features, weight, in_rows, out_rows)


def _backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
    features, weight, in_rows, out_rows = ctx.saved_tensors
    tables = (in_rows, out_rows, ctx.symmetric)
    grad_features = grad_weight = grad_bias = None
    if ctx.needs_input_grad[0]:
        grad_features = _carry_back(grad_out, weight, *tables)
    if ctx.needs_input_grad[1]:
        grad_weight = torch.ops.elite_ops.sparse_depthwise_conv_backward_weight(
            features, grad_out, *tables
        )
    if ctx.needs_input_grad[2]:
        grad_bias = grad_out.sum(0)
    return grad_features, grad_weight, grad_bias, None, None, None


def _setup_context_of_weight(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.symmetric = inputs
    ctx.save_for_backward(*tensors)


def _backward_of_weight(ctx: Any, grad_weight_grad: Tensor) -> tuple[Tensor | None, ...]:
    """The weight gradient is bilinear too: both of its derivatives are convolutions."""
    features, grad_out, in_rows, out_rows = ctx.saved_tensors
    tables = (in_rows, out_rows, ctx.symmetric)
    grad_features = grad_grad_out = None
    if ctx.needs_input_grad[0]:
        grad_features = _carry_back(grad_out, grad_weight_grad, *tables)
    if ctx.needs_input_grad[1]:
        grad_grad_out = torch.ops.elite_ops.sparse_depthwise_conv(
            features, grad_weight_grad, None, *tables
        )
    return grad_features, grad_grad_out, None, None, None


register_fake("sparse_depthwise_conv", _fake)
register_fake("sparse_depthwise_conv_backward_weight", _fake_backward_weight)
register_autograd("sparse_depthwise_conv", _backward, setup_context=_setup_context)
register_autograd(
    "sparse_depthwise_conv_backward_weight",
    _backward_of_weight,
    setup_context=_setup_context_of_weight,
)
