"""Scans to a batch: one list of points, which scan each point is of, and what the cameras saw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from elite.types import Batch, CameraBatch, Scan

__all__ = ["collate"]


def collate(scans: Sequence[Scan]) -> Batch:
    """Concatenates scans. Either every scan has labels or none has; a scan may lack an image.

    Raises:
        ValueError: if only some of the scans have labels, the images differ in size, only some of
            them have pseudo-labels, or there is no scan.
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
        camera=_collate_cameras(scans),
    )


def _collate_cameras(scans: Sequence[Scan]) -> CameraBatch | None:
    """The images of the scans whose points have pixels; None if there are none."""
    seen = [i for i, scan in enumerate(scans) if scan.image is not None and scan.pixel is not None]
    if not seen:
        return None
    sizes = {scans[i].image.shape for i in seen}  # type: ignore[union-attr]
    if len(sizes) > 1:
        raise ValueError(f"collate: the images of `scans` must be of one size, got {sorted(sizes)}")
    (size,) = sizes
    images = np.zeros((len(scans), *size), np.uint8)
    for i in seen:
        images[i] = scans[i].image
    starts = np.cumsum([0] + [len(scan.points) for scan in scans])
    rows = {i: _rows_with_pixel(scans[i]) for i in seen}
    return CameraBatch(
        images=torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(),
        pixel=_joined([scans[i].pixel[rows[i]] for i in seen]),  # type: ignore[index]
        point_index=_joined([rows[i] + starts[i] for i in seen]),
        image_index=_joined([np.full(len(rows[i]), i) for i in seen]),
        pseudo_labels=_collate_pseudo_labels(scans, seen, size[:2]),
    )


def _collate_pseudo_labels(
    scans: Sequence[Scan], seen: Sequence[int], size: tuple[int, ...]
) -> torch.Tensor | None:
    labelled = [i for i in seen if scans[i].pseudo_labels is not None]
    if not labelled:
        return None
    if len(labelled) != len(seen):
        raise ValueError(f"collate: {len(labelled)} of {len(seen)} images have pseudo-labels")
    labels = np.zeros((len(scans), *size), np.int64)
    for i in labelled:
        labels[i] = scans[i].pseudo_labels  # type: ignore[assignment]
    return torch.from_numpy(labels)


def _rows_with_pixel(scan: Scan) -> NDArray[np.int64]:
    assert scan.pixel is not None
    return np.flatnonzero(scan.pixel[:, 0] >= 0)


def _joined(arrays: Sequence[NDArray[np.generic]]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(arrays))
