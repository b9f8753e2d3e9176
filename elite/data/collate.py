"""Scans to a batch: one list of points, which scan each point is of, and what the cameras saw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

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
    images = [cast("NDArray[np.uint8]", scans[i].image) for i in seen]
    sizes = {image.shape for image in images}
    if len(sizes) > 1:
        raise ValueError(f"collate: the images of `scans` must be of one size, got {sorted(sizes)}")
    pixels = [cast("NDArray[np.int32]", scans[i].pixel) for i in seen]
    starts = np.cumsum([0] + [len(scan.points) for scan in scans])
    rows = [np.flatnonzero(pixel[:, 0] >= 0) for pixel in pixels]
    return CameraBatch(
        images=torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(),
        pixel=_joined([pixel[row] for pixel, row in zip(pixels, rows, strict=True)]),
        point_index=_joined([row + starts[i] for i, row in zip(seen, rows, strict=True)]),
        image_index=_joined([np.full(len(row), image) for image, row in enumerate(rows)]),
        pseudo_labels=_collate_pseudo_labels([scans[i].pseudo_labels for i in seen]),
    )


def _collate_pseudo_labels(
    labels: Sequence[NDArray[np.int64] | None],  # of every image
) -> torch.Tensor | None:
    labelled = [image for image in labels if image is not None]
    if not labelled:
        return None
    if len(labelled) != len(labels):
        raise ValueError(f"collate: {len(labelled)} of {len(labels)} images have pseudo-labels")
    return torch.from_numpy(np.stack(labelled, dtype=np.int64))


def _joined(arrays: Sequence[NDArray[np.generic]]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(arrays))
