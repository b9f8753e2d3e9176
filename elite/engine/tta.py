"""Test-time augmentation: the logits of several views of a scan, summed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from elite.data import AugmentationConfig
from elite.data.augmentation import random_transform

__all__ = ["InferenceNetwork", "add_views", "view_transforms"]

# Points [N, 4], batch index [N], number of scans -> logits [N, C], whether a point is inside [N].
InferenceNetwork = Callable[[torch.Tensor, torch.Tensor, int], tuple[torch.Tensor, torch.Tensor]]


def view_transforms(
    count: int, config: AugmentationConfig | None = None, seed: int = 0
) -> list[torch.Tensor]:  # [4, 4] float32 each, for homogeneous points
    """The views of every scan: first the scan as it is, then `count` - 1 drawn ones.

    Args:
        config: what may be turned, mirrored, scaled and shifted; no point is left out.

    Raises:
        ValueError: if `count` is below 1.
    """
    if count < 1:
        raise ValueError(f"view_transforms: `count` must be at least 1, got {count}")
    rng = np.random.default_rng(seed)
    config = config or AugmentationConfig()
    drawn = [random_transform(config, rng) for _ in range(count - 1)]
    return [torch.from_numpy(matrix).float() for matrix in (np.eye(4), *drawn)]


def add_views(
    network: InferenceNetwork,
    points: torch.Tensor,  # [N, 3 + F]
    batch_index: torch.Tensor,  # [N] int64
    batch_size: int,
    first: tuple[torch.Tensor, torch.Tensor],  # logits [N, C], valid [N] of the scan as it is
    views: Sequence[torch.Tensor],  # all of them, the identity first
) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum of the logits over `views`, and which points are inside the range in any of them."""
    logits, valid = first
    logits = logits * valid[:, None]
    for view in views[1:]:
        transform = view.to(points.device)
        moved = points.clone()
        moved[:, :3] = points[:, :3] @ transform[:3, :3].T + transform[:3, 3]
        more, inside = network(moved, batch_index, batch_size)
        logits = logits + more * inside[:, None]
        valid = valid | inside
    return logits, valid
