"""From logits to one label per point, also where the network has none."""

from __future__ import annotations

import torch

from elite_ops import nearest_rows

__all__ = ["point_labels"]


def point_labels(
    logits: torch.Tensor,  # [N, C]
    valid: torch.Tensor,  # [N] bool
    points: torch.Tensor,  # [N, 3 + F]
    batch_index: torch.Tensor,  # [N] int64
) -> torch.Tensor:  # [N] int64
    """The most likely class of each point, never class 0.

    A point outside the network's range takes the label of the nearest point of its scan that is
    inside. Where a whole scan is outside, nothing is known: its labels are 0.
    """
    labels = logits[:, 1:].argmax(dim=1) + 1
    labels[~valid] = 0
    for scan in set(batch_index[~valid].tolist()):
        rows = batch_index == scan
        outside, inside = (rows & ~valid).nonzero()[:, 0], (rows & valid).nonzero()[:, 0]
        if len(inside):
            nearest = nearest_rows(points[outside, :3], points[inside, :3])
            labels[outside] = labels[inside[nearest]]
    return labels
