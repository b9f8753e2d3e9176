"""Sparse labels as prompts for Segment Anything: points, and masks of where to look.

SAM works in a square frame of 1024 x 1024 whose side is the image's longest, and takes and gives
masks at a quarter of that, 256 x 256. Points are written into the cells of the small frame
directly: shrinking a canvas of labels with nearest neighbours would keep one labelled pixel in 25.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from elite.pseudo_label.scatter import ImageLabels, ProjectedPoints, scatter_points

__all__ = ["FRAME", "LOW_RESOLUTION", "Crop", "Prompts", "low_resolution_labels", "make_prompts"]

FRAME = 1024  # side of SAM's input, pixels
LOW_RESOLUTION = 256  # side of its masks, cells
STRIDE = FRAME // LOW_RESOLUTION
SAME_STUFF, SAME_THING, OTHER_CLASS = 1.0, 16.0, -16.0  # logits


@dataclass(frozen=True)
class Crop:
    """A window of the image that fills SAM's frame."""

    left: int
    top: int
    width: int
    height: int

    @property
    def longest_side(self) -> int:
        return max(self.width, self.height)


@dataclass(frozen=True)
class Prompts:
    """One prompt for every labelled cell, segment by segment.

    A segment is all cells of one class and instance; its prompts share a mask.
    """

    points: NDArray[np.float32]  # [Q, 2] x, y in the frame
    segment: NDArray[np.int64]  # [Q] row of `masks`, not falling
    masks: NDArray[np.float32]  # [S, 256, 256] logits


def low_resolution_labels(points: ProjectedPoints, crop: Crop) -> ImageLabels:
    """The labels of a crop's points in the 256 x 256 frame, the nearest point winning a cell."""
    pixel = points.pixel - (crop.top, crop.left)
    inside = ((pixel >= 0) & (pixel < (crop.height, crop.width))).all(axis=1)
    cell = pixel[inside] * LOW_RESOLUTION // crop.longest_side
    shown = replace(
        points,
        pixel=points.pixel[inside],
        depth=points.depth[inside],
        labels=points.labels[inside],
        instances=points.instances[inside],
    )
    return scatter_points(cell, shown, (LOW_RESOLUTION, LOW_RESOLUTION))


def make_prompts(sparse: ImageLabels, max_per_segment: int | None = None) -> Prompts:
    """Every labelled cell of the 256 x 256 frame as a prompt.

    Args:
        sparse: from `low_resolution_labels`.
        max_per_segment: take this many cells of a class or instance, evenly chosen.
    """
    row, col = np.nonzero(sparse.labels)
    keys = np.stack([sparse.labels[row, col], sparse.instances[row, col]], axis=1)
    segments, segment = np.unique(keys, axis=0, return_inverse=True)
    order = np.argsort(segment, kind="stable")
    if max_per_segment is not None:
        order = order[_evenly(segment[order], max_per_segment)]
    cells = np.stack([col[order], row[order]], axis=1)
    masks = [_mask(sparse, label, instance) for label, instance in segments.tolist()]
    return Prompts(
        points=(STRIDE * cells + (STRIDE - 1) / 2).astype(np.float32),
        segment=segment[order],
        masks=np.array(masks, dtype=np.float32).reshape(-1, LOW_RESOLUTION, LOW_RESOLUTION),
    )


def _evenly(segment: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Rows that leave at most `most` of each segment, at equal distances; `segment` is sorted."""
    _, starts, sizes = np.unique(segment, return_index=True, return_counts=True)
    rank = np.arange(len(segment)) - np.repeat(starts, sizes)
    size = np.repeat(sizes, sizes)
    # the part of the segment that is due grows by one at each chosen row
    chosen = (rank + 1) * most // size != rank * most // size
    return np.flatnonzero(chosen | (size <= most))


def _mask(sparse: ImageLabels, label: int, instance: int) -> NDArray[np.float32]:  # [256, 256]
    """The mask prompt of one segment: attracted by itself, repelled by the other classes."""
    same = sparse.labels == label
    mask = np.where(same | (sparse.labels == 0), 0.0, OTHER_CLASS).astype(np.float32)
    if instance == 0:
        mask[same] = SAME_STUFF
    else:
        mask[same & (sparse.instances == instance)] = SAME_THING
    return mask
