"""The commonest label of each segment."""

from __future__ import annotations

import torch
from torch import Tensor

from elite_ops.arguments import integer
from elite_ops.ops.segments import Segments
from elite_ops.registration import register_fake

__all__ = ["majority_vote"]


def majority_vote(
    labels: Tensor,  # [N] int64
    segments: Segments,  # of N points in M segments
    num_classes: int,
    *,
    ignore_label: int = 0,
) -> Tensor:  # [M] int64
    """Gives each segment the commonest label of its points; of equally common ones the smallest.

    Every label votes, also the one that stands for "unlabelled".

    Args:
        labels: label of each point, in [0, num_classes). Points in no segment may have any.
        segments: the points of each segment, from `build_segments`.
        num_classes: how many classes there are; memory is needed for those that occur alone.
        ignore_label: the label of an empty segment.

    Returns:
        One label per segment.

    Raises:
        TypeError: if `labels` is not int64, or a number no integer.
        ValueError: if shapes or devices don't fit, or `num_classes` is not positive.
        IndexError: if a label is outside [0, num_classes). On CUDA it has no vote, and
            `elite_ops.check_device_errors` raises.

    *Differentiable:* no.
    *Sync:* none.
    *Deterministic:* yes.
    *Source:* a histogram per segment; on the CPU the sorted labels where classes are many.

    Example:
        >>> from elite_ops import build_segments
        >>> segments = build_segments(torch.tensor([0, 0, 0, 2, 2], dtype=torch.int32), 3)
        >>> majority_vote(torch.tensor([4, 1, 4, 3, 2]), segments, num_classes=5)
        tensor([4, 0, 2])
    """
    numbers = (
        integer("majority_vote", "num_classes", num_classes),
        integer("majority_vote", "ignore_label", ignore_label),
    )
    out: Tensor = torch.ops.elite_ops.majority_vote(
        labels, segments.inverse, segments.order, segments.offsets, *numbers
    )
    return out


def _fake(
    labels: Tensor,
    inverse: Tensor,
    order: Tensor,
    offsets: Tensor,
    num_classes: int,
    ignore_label: int,
) -> Tensor:
    return labels.new_empty(offsets.shape[0] - 1)


register_fake("majority_vote", _fake)
