"""What `torch.utils.flop_counter.FlopCounterMode` counts for the ops.

As for torch's own products, a multiplication and an addition are two operations, and biases and
activations are none. A convolution multiplies where an input row meets an output row: pairs are
counted in the table, which waits for the device. Of tensors without data (meta, fake) every row
counts as meeting one under each offset, which is the most that there can be.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils.flop_counter import register_flop_formula

import elite_ops._extension  # noqa: F401 - loads the ops

__all__: list[str] = []

ops = torch.ops.elite_ops


@register_flop_formula(ops.sparse_conv, get_raw=True)
def _sparse_conv(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    in_rows: Tensor,
    *rest: object,
    **_: object,
) -> int:
    return 2 * _num_pairs(in_rows) * weight.shape[1] * weight.shape[2]


@register_flop_formula(ops.sparse_conv_backward_weight, get_raw=True)
def _sparse_conv_backward_weight(
    features: Tensor, grad_out: Tensor, in_rows: Tensor, *rest: object, **_: object
) -> int:
    return 2 * _num_pairs(in_rows) * features.shape[1] * grad_out.shape[1]


@register_flop_formula(ops.sparse_conv_fused, get_raw=True)
def _sparse_conv_fused(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    in_rows: Tensor,
    residual: Tensor | None,
    negative_slope: float,
    order: Tensor | None = None,
    ordered_rows: Tensor | None = None,
    shortcut: Tensor | None = None,
    shortcut_weight: Tensor | None = None,
    num_rows: Tensor | None = None,
    *rest: object,
    **_: object,
) -> int:
    of_a_pair = 2 * weight.shape[1] * weight.shape[2]
    of_a_row = 0 if shortcut_weight is None else 2 * shortcut_weight.numel()
    in_rows = _valid(in_rows, num_rows)
    return _num_pairs(in_rows) * of_a_pair + in_rows.shape[1] * of_a_row


@register_flop_formula(ops.linear_fused, get_raw=True)
def _linear_fused(
    features: Tensor,
    rows: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    residuals: list[Tensor],
    residual_rows: list[Tensor | None],
    negative_slope: float,
    num_rows: Tensor | None = None,
    *rest: object,
    **_: object,
) -> int:
    # Without rows, row i takes row i.
    rows = features[:, :0].sum(1) if rows is None else rows
    return 2 * _num_pairs(_valid(rows[None], num_rows)) * weight.numel()


@register_flop_formula(ops.sparse_depthwise_conv, get_raw=True)
def _sparse_depthwise_conv(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    in_rows: Tensor,
    *rest: object,
    **_: object,
) -> int:
    return 2 * _num_pairs(in_rows) * features.shape[1]


@register_flop_formula(ops.sparse_depthwise_conv_backward_weight, get_raw=True)
def _sparse_depthwise_conv_backward_weight(
    features: Tensor, grad_out: Tensor, in_rows: Tensor, *rest: object, **_: object
) -> int:
    return 2 * _num_pairs(in_rows) * features.shape[1]


def _valid(in_rows: Tensor, num_rows: Tensor | None) -> Tensor:  # [K, V]
    """The columns of a padded buffer that are valid."""
    if num_rows is None or not _has_data(num_rows):
        return in_rows
    return in_rows[:, : int(num_rows)]


def _num_pairs(in_rows: Tensor) -> int:  # [K, V]
    return int((in_rows >= 0).sum()) if _has_data(in_rows) else in_rows.numel()


def _has_data(tensor: Tensor) -> bool:
    return not (tensor.is_meta or isinstance(tensor, FakeTensor))
