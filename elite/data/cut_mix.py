"""CutMix: instances of another scan, pasted where the ground is free."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from elite.types import Scan

__all__ = ["CutMixConfig", "paste_instances"]

Points = NDArray[np.float32]  # [N, 4]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class CutMixConfig:
    """How often, and what, is pasted.

    Attributes:
        probability: of pasting anything into a scan.
        max_instances: of the other scan, drawn at random.
        min_points: instances with fewer points are left where they are.
        attempts: places that are tried for an instance before it is given up.
        clearance: how far points may rise above the instance's lowest point before the place
            counts as taken, in metres.
    """

    probability: float = 0.0
    max_instances: int = 10
    min_points: int = 20
    attempts: int = 5
    clearance: float = 0.3


def paste_instances(
    scan: Scan, donor: Scan, config: CutMixConfig, rng: np.random.Generator
) -> Scan:
    """`scan` with some of the instances of `donor`.

    An instance is turned about the sensor by a random angle, so that it is still seen from the side
    and at the distance from which it was recorded, and put on the ground that is there. A place
    without ground, or where something stands, is not used. Pasted points have no pixel.

    Raises:
        ValueError: if a scan has no labels or no instances.
    """
    groups = [rows for rows in _instances(donor) if len(rows) >= config.min_points]
    chosen = rng.permutation(len(groups))[: config.max_instances]
    for i in chosen:
        placed = _place(donor.points[groups[i]], scan.points, config, rng)
        if placed is not None:
            scan = _append(scan, replace(donor.take(groups[i]), points=placed))
    return scan


def _instances(scan: Scan) -> list[Rows]:
    """The rows of each instance: points of one learned class and one instance id."""
    labels, instances = _labels(scan)
    things = np.flatnonzero((labels > 0) & (instances > 0))
    keys = np.stack([labels[things], instances[things]], axis=1)
    _, group = np.unique(keys, axis=0, return_inverse=True)
    group = group.reshape(-1)
    order = np.argsort(group, kind="stable")
    return np.split(things[order], np.flatnonzero(np.diff(group[order])) + 1) if len(things) else []


def _place(
    points: Points, surroundings: Points, config: CutMixConfig, rng: np.random.Generator
) -> Points | None:
    """The instance turned about the sensor and set on the ground, or None where it found none."""
    for angle in rng.uniform(0.0, 2 * np.pi, size=config.attempts):
        turned = points.copy()
        cos, sin = np.cos(angle), np.sin(angle)
        turned[:, :2] = points[:, :2] @ np.array([[cos, sin], [-sin, cos]], np.float32)
        low, high = turned[:, :2].min(axis=0), turned[:, :2].max(axis=0)
        below = ((surroundings[:, :2] >= low) & (surroundings[:, :2] <= high)).all(axis=1)
        heights = surroundings[below, 2]
        if len(heights) and np.ptp(heights) < config.clearance:
            turned[:, 2] += np.median(heights) - turned[:, 2].min()
            return turned
    return None


def _append(scan: Scan, pasted: Scan) -> Scan:
    """`scan` followed by the points of `pasted`, which no image shows."""
    labels, instances = map(np.concatenate, zip(_labels(scan), _labels(pasted), strict=True))
    pixel = scan.pixel
    if pixel is not None:
        pixel = np.concatenate([pixel, np.full((len(pasted.points), 2), -1, pixel.dtype)])
    return replace(
        scan,
        points=np.concatenate([scan.points, pasted.points]),
        labels=labels,
        instances=instances,
        pixel=pixel,
    )


def _labels(scan: Scan) -> tuple[Rows, Rows]:
    """Labels and instances of a scan that must have them."""
    if scan.labels is None or scan.instances is None:
        raise ValueError(f"paste_instances: {scan.name} must have labels and instances")
    return scan.labels, scan.instances
