"""Scans to a batch: one list of points, and which scan each point is of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from elite.types import Batch, Scan

__all__ = ["collate"]


def collate(scans: Sequence[Scan]) -> Batch:
    """Concatenates scans. Either every scan has labels or none has.

    Raises:
        ValueError: if only some of the scans have labels, or there is no scan.
    """
    if not scans:
        raise ValueError("collate: `scans` must not be empty")
    labels = [scan.labels for scan in scans if scan.labels is not None]
    if labels and len(labels) != len(scans):
        raise ValueError(f"collate: {len(labels)} of {len(scans)} `scans` have labels")
    sizes = torch.tensor([len(scan.points) for scan in scans])
    return Batch(
        points=torch.from_numpy(np.concatenate([scan.points for scan in scans])),
        batch_index=torch.repeat_interleave(torch.arange(len(scans)), sizes),
        batch_size=len(scans),
        names=[scan.name for scan in scans],
        labels=torch.from_numpy(np.concatenate(labels)) if labels else None,
    )
