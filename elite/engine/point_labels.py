"""From logits to one label per point, also where the network has none."""

from __future__ import annotations

import torch

from elite.student.head import most_likely
from elite_ops import nearest_rows

__all__ = ["label_outside", "point_labels"]


def point_labels(
    logits: torch.Tensor,  # [N, C]
    valid: torch.Tensor,  # [N] bool
    points: torch.Tensor,  # [N, 3 + F]
    batch_index: torch.Tensor,  # [N] int64
) -> torch.Tensor:  # [N] int64
    """The most likely class of each point, never class 0, also outside the range."""
    return label_outside(most_likely(logits), valid, points, batch_index)


def label_outside(
    labels: torch.Tensor,  # [N] int64
    valid: torch.Tensor,  # [N] bool
    points: torch.Tensor,  # [N, 3 + F]
    batch_index: torch.Tensor,  # [N] int64
) -> torch.Tensor:  # [N] int64
    """Points outside the network's range take the label of the nearest point of their scan inside.

    Where a whole scan is outside, nothing is known: its labels are 0. Writes into `labels`.
    """
    labels[~valid] = 0
    for scan in set(batch_index[~valid].tolist()):
        rows = batch_index == scan
        outside, inside = (rows & ~valid).nonzero()[:, 0], (rows & valid).nonzero()[:, 0]
        if len(inside):
            nearest = nearest_rows(points[outside, :3], points[inside, :3])
            labels[outside] = labels[inside[nearest]]
    return labels
