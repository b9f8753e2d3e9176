"""Random changes to a scan that leave its labels true."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from elite.types import Scan

__all__ = ["AugmentationConfig", "augment", "random_sector", "random_transform"]

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class AugmentationConfig:
    """How far a scan may be changed; every range is drawn from uniformly.

    Attributes:
        rotation: largest angle about the vertical axis, in degrees, from 0.
        flip_x: whether x may change its sign, with probability one half.
        flip_y: likewise y.
        scale: smallest and largest factor of x and y; heights are kept.
        translation: standard deviation of the shift along each axis, in metres.
        dropout: largest fraction of the points that is left out.
        sector: width of the wedge around the vertical axis, in degrees, whose points are kept; its
            direction is drawn. Less than 360 makes steps that are as much cheaper.
    """

    rotation: float = 360.0
    flip_x: bool = True
    flip_y: bool = True
    scale: tuple[float, float] = (0.95, 1.05)
    translation: float = 0.1
    dropout: float = 0.2
    sector: float = 360.0


def augment(scan: Scan, config: AugmentationConfig, rng: np.random.Generator) -> Scan:
    """A changed copy of `scan`: rotated, flipped, scaled, shifted and thinned.

    Points that are left out are gone from every per-point array. The sector is not applied: it
    comes first (`random_sector`), so that nothing is spent on what is left out. Neither is the
    range: voxelization applies it, to the points as they are afterwards. `projection` takes the
    changed points to the pixels of the unchanged image.
    """
    transform = random_transform(config, rng)
    keep = _random_subset(len(scan.points), config.dropout, rng)
    points = scan.points[keep]
    points[:, :3] = points[:, :3] @ transform[:3, :3].T + transform[:3, 3]
    projection = scan.projection
    if projection is not None:
        projection = (projection @ np.linalg.inv(transform)).astype(np.float32)
    return replace(scan.take(keep), points=points, projection=projection)


def random_sector(scan: Scan, width: float, rng: np.random.Generator) -> Scan:
    """The points of `scan` in a wedge of `width` degrees around the sensor, turned at random."""
    if width >= 360.0:
        return scan
    direction = rng.uniform(0.0, 360.0)
    azimuth = np.rad2deg(np.arctan2(scan.points[:, 1], scan.points[:, 0]))
    return scan.take(np.flatnonzero((azimuth - direction) % 360.0 < width))


def random_transform(config: AugmentationConfig, rng: np.random.Generator) -> Matrix:
    """A 4 x 4 matrix: rotation first, then flips, scale and translation."""
    angle = np.deg2rad(rng.uniform(0.0, config.rotation))
    rotation = np.eye(4)
    rotation[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    flip_x, flip_y = rng.integers(0, 2, size=2)
    signs = [-1 if flip_x and config.flip_x else 1, -1 if flip_y and config.flip_y else 1]
    scale = rng.uniform(*config.scale)
    transform: Matrix = np.diag([scale * signs[0], scale * signs[1], 1, 1]) @ rotation
    transform[:3, 3] = rng.normal(0.0, config.translation, size=3)
    return transform


def _random_subset(size: int, dropout: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """The rows that stay, in order; at most the fraction `dropout` is missing."""
    dropped = int(rng.uniform(0.0, dropout) * size)
    stays = np.ones(size, bool)
    stays[rng.choice(size, dropped, replace=False, shuffle=False)] = False
    return np.flatnonzero(stays)
