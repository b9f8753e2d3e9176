"""The commonest label of each segment."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["majority_vote"]


def majority_vote(
    labels: Tensor,  # [N] int64
    inverse: Tensor,  # [N] int32, -1 = in no segment
    num_segments: int,
    num_classes: int,
    ignore_label: int = 0,
) -> Tensor:  # [M] int64
    inside = inverse >= 0
    cell = inverse[inside].long() * num_classes + labels[inside]
    votes = torch.bincount(cell, minlength=num_segments * num_classes)
    votes = votes.view(num_segments, num_classes)
    # Not argmax, which may return any of several maxima.
    is_commonest = votes == votes.amax(1, keepdim=True)
    classes = torch.arange(num_classes, device=labels.device)
    smallest = torch.where(is_commonest, classes, num_classes).amin(1)
    return torch.where(votes.any(1), smallest, ignore_label)
