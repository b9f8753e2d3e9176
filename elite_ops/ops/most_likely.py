"""The class with the largest logit."""

from __future__ import annotations

import torch
from torch import Tensor

from elite_ops.arguments import integer
from elite_ops.registration import register_fake

__all__ = ["most_likely"]


def most_likely(
    logits: Tensor,  # [N, C]
    valid: Tensor | None = None,  # [N] bool, or int32, -1 = none
    *,
    ignore_label: int | None = None,
) -> Tensor:  # [N] int64
    """`logits.argmax(1)`, of the labelled classes and valid rows alone, in one pass.

    Of equal logits the first wins, and NaN is larger than any other, as for `torch.argmax`.

    Args:
        logits: float32, float64, float16 or bfloat16. Rows may be anywhere, such as the first
            columns of a wider matrix: they are not copied where a row's numbers are side by side.
        valid: which rows have a label; or row numbers such as `Voxels.point_rows`, of which the
            negative ones mean that there is none. None: all.
        ignore_label: a class that is passed over, such as the one that stands for "unlabelled".

    Returns:
        One label per row, 0 for rows that are not valid.

    Raises:
        TypeError: if `logits` is not floating, `valid` neither bool nor int32, or `ignore_label` no
            integer.
        ValueError: if shapes or devices don't fit, `ignore_label` is no class, or no other is left.

    *Differentiable:* no.
    *Sync:* none.
    *Deterministic:* yes.
    *Source:* torch.argmax; on CUDA a thread per row.

    Example:
        >>> logits = torch.tensor([[9.0, 1.0, 2.0], [0.0, 5.0, 5.0], [1.0, 2.0, 3.0]])
        >>> most_likely(logits, torch.tensor([True, True, False]), ignore_label=0)
        tensor([2, 1, 0])
    """
    if ignore_label is not None:
        ignore_label = integer("most_likely", "ignore_label", ignore_label)
    out: Tensor = torch.ops.elite_ops.most_likely(logits, valid, ignore_label)
    return out


def _fake(logits: Tensor, valid: Tensor | None = None, ignore_label: int | None = None) -> Tensor:
    return logits.new_empty(logits.shape[0], dtype=torch.int64)


register_fake("most_likely", _fake)
