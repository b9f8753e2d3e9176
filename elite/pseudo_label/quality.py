"""How good pseudo-labels are: figures without the truth, and against it where it is known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from elite.data import DatasetSpec
from elite.errors import EliteError
from elite.pseudo_label.scatter import ImageLabels, ProjectedPoints

__all__ = ["FrameQuality", "Quality", "frame_quality", "nearest_labels", "total_quality"]


@dataclass(frozen=True)
class FrameQuality:
    """Counts of one image; pixels by class are in the order of the learning ids.

    Attributes:
        projected_points: with a pixel of the image.
        hidden_points: of these, behind something else.
        pixels: of the image.
        painted_pixels: under a mask that had a vote.
        labelled_pixels: that show a visible labelled point, by class.
        contested_pixels: of these, under a mask.
        agreeing_pixels: of these, painted with their own label.
        dense_pixels: of the result, by class.
    """

    projected_points: int
    hidden_points: int
    pixels: int
    painted_pixels: int
    labelled_pixels: tuple[int, ...]
    contested_pixels: int
    agreeing_pixels: int
    dense_pixels: tuple[int, ...]


@dataclass
class Quality:
    """The same over all images, as fractions.

    Attributes:
        hidden: of the projected points.
        sparse_coverage: pixels that show a visible labelled point.
        coverage: pixels with a label in the result.
        agreement: labelled pixels under a mask that keep their label.
        lost_classes: that points have and no pixel of the result.
    """

    num_images: int
    hidden: float
    sparse_coverage: float
    coverage: float
    agreement: float
    lost_classes: list[str] = field(default_factory=list)


def frame_quality(
    points: ProjectedPoints,
    sparse: ImageLabels,
    dense: ImageLabels,
    painted: NDArray[np.bool_],  # [H, W]
    num_classes: int,
) -> FrameQuality:
    """Counts what there was, and what became of it."""
    contested = painted & (sparse.labels != 0)
    return FrameQuality(
        projected_points=points.num_projected,
        hidden_points=points.num_hidden,
        pixels=painted.size,
        painted_pixels=int(painted.sum()),
        labelled_pixels=_by_class(sparse, num_classes),
        contested_pixels=int(contested.sum()),
        agreeing_pixels=int((contested & (sparse.labels == dense.labels)).sum()),
        dense_pixels=_by_class(dense, num_classes),
    )


def _by_class(labels: ImageLabels, num_classes: int) -> tuple[int, ...]:
    return tuple(np.bincount(labels.labels.reshape(-1), minlength=num_classes).tolist())


def total_quality(frames: Iterable[FrameQuality], spec: DatasetSpec) -> Quality:
    """Sums the counts of frames."""
    listed = list(frames)
    zero = np.zeros(spec.num_classes, dtype=np.int64)
    labelled = sum((np.array(f.labelled_pixels) for f in listed), zero)
    dense = sum((np.array(f.dense_pixels) for f in listed), zero)
    lost = np.flatnonzero((labelled > 0) & (dense == 0))
    pixels = sum(f.pixels for f in listed)
    return Quality(
        num_images=len(listed),
        hidden=_fraction(
            sum(f.hidden_points for f in listed), sum(f.projected_points for f in listed)
        ),
        sparse_coverage=_fraction(int(labelled[1:].sum()), pixels),
        coverage=_fraction(int(dense[1:].sum()), pixels),
        agreement=_fraction(
            sum(f.agreeing_pixels for f in listed), sum(f.contested_pixels for f in listed)
        ),
        lost_classes=[spec.names[c] for c in lost.tolist()],
    )


def _fraction(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def nearest_labels(sparse: ImageLabels) -> NDArray[np.int64]:  # [H, W]
    """The plain alternative to masks: every pixel takes the label of the nearest labelled one."""
    try:
        from scipy.ndimage import distance_transform_edt
    except ImportError as error:
        raise EliteError(
            "comparing with the truth needs scipy",
            'Install it: pip install "elite-lidar[segment]".',
        ) from error
    if not sparse.labels.any():
        return sparse.labels.copy()
    row, col = distance_transform_edt(
        sparse.labels == 0, return_distances=False, return_indices=True
    )
    nearest: NDArray[np.int64] = sparse.labels[row, col]
    return nearest
