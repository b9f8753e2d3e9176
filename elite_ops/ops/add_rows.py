"""The sum of two matrices, of the valid rows of padded buffers alone."""

from __future__ import annotations

import torch
from torch import Tensor

from elite_ops.registration import register_fake

__all__ = ["add_rows"]


def add_rows(
    x: Tensor,  # [N, C]
    y: Tensor,  # [N, C]
    num_rows: Tensor | None = None,  # [] int64
) -> Tensor:  # [N, C]
    """`x + y`, of the first `num_rows` rows alone. For inference at a fixed capacity.

    Args:
        x: float32, float64, float16 or bfloat16.
        y: of the shape and dtype of `x`.
        num_rows: how many rows of the result are wanted, on the device of `x`; those from there on
            are left undefined. None: all.

    Returns:
        The sum, to the bit that of torch.

    Raises:
        RuntimeError: if a gradient would be needed.
        ValueError: if shapes or devices don't fit together.
        TypeError: if dtypes differ or are not floating.

    *Differentiable:* no.
    *Sync:* none.
    *Deterministic:* yes.
    *Source:* torch.add, for padded buffers.

    Example:
        >>> add_rows(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 0.5]]))
        tensor([[4.0000, 2.5000]])
    """
    if torch.is_grad_enabled() and (x.requires_grad or y.requires_grad):
        raise RuntimeError("add_rows: has no gradient; call it under torch.no_grad() or use x + y")
    out: Tensor = torch.ops.elite_ops.add_rows(x, y, num_rows)
    return out


def _fake(x: Tensor, y: Tensor, num_rows: Tensor | None = None) -> Tensor:
    return x.new_empty(x.shape)


register_fake("add_rows", _fake)
