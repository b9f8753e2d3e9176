"""Sparse labels of an image: points written at the pixels, or cells, that show them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elite.data import project_scan
from elite.pseudo_label.config import VisibilityConfig
from elite.types import Scan

__all__ = ["ImageLabels", "ProjectedPoints", "nearest_per_cell", "scatter_points", "visible_points"]


@dataclass(frozen=True)
class ProjectedPoints:
    """The labelled points of a scan that its camera sees.

    Attributes:
        unlabelled_pixel: where the camera sees points without a label.
        labels: learning ids, never 0.
        instances: 0 belongs to no instance.
        depth: metres along the camera's axis.
        num_projected: points of the scan with a pixel, labelled or not.
        num_hidden: those of them behind something else.
    """

    pixel: NDArray[np.int64]  # [P, 2] row, col
    depth: NDArray[np.float32]  # [P]
    labels: NDArray[np.int64]  # [P]
    instances: NDArray[np.int64]  # [P]
    unlabelled_pixel: NDArray[np.int64]  # [U, 2] row, col
    image_size: tuple[int, int]
    num_projected: int
    num_hidden: int


@dataclass(frozen=True)
class ImageLabels:
    """One label and instance for every pixel (or cell); 0 is none."""

    labels: NDArray[np.int64]  # [H, W] learning ids
    instances: NDArray[np.int64]  # [H, W]


def visible_points(scan: Scan, config: VisibilityConfig) -> ProjectedPoints:
    """Projects a scan with labels, image and projection, and leaves out what the camera can't see.

    Unlabelled points hide others, too.
    """
    if scan.labels is None or scan.image is None or scan.projection is None:
        raise ValueError("visible_points: `scan` must have labels, an image and a projection")
    image_size = (scan.image.shape[0], scan.image.shape[1])
    every_pixel = project_scan(scan).pixel
    assert every_pixel is not None
    rows = np.flatnonzero(every_pixel[:, 0] >= 0)
    pixel = every_pixel[rows].astype(np.int64)
    depth = scan.points[rows, :3] @ scan.projection[2, :3] + scan.projection[2, 3]
    hidden = np.zeros(len(rows), dtype=np.bool_)
    if config.enabled:
        hidden = _hidden(pixel, depth, image_size, config)
    labels = scan.labels[rows]
    instances = np.zeros_like(labels) if scan.instances is None else scan.instances[rows]
    kept = ~hidden & (labels != 0)
    return ProjectedPoints(
        pixel=pixel[kept],
        depth=depth[kept],
        labels=labels[kept],
        instances=instances[kept],
        unlabelled_pixel=pixel[~hidden & (labels == 0)],
        image_size=image_size,
        num_projected=len(rows),
        num_hidden=int(hidden.sum()),
    )


def _hidden(
    pixel: NDArray[np.int64],  # [P, 2]
    depth: NDArray[np.float32],  # [P]
    image_size: tuple[int, int],
    config: VisibilityConfig,
) -> NDArray[np.bool_]:  # [P]
    """The depth test, against the nearest point of the window around each pixel."""
    nearest = np.full(image_size, np.inf, dtype=np.float32)
    np.minimum.at(nearest, (pixel[:, 0], pixel[:, 1]), depth)
    nearest = _minimum_filter(nearest, config.rows, axis=0)
    nearest = _minimum_filter(nearest, config.columns, axis=1)
    limit = nearest[pixel[:, 0], pixel[:, 1]] * (1 + config.relative) + config.absolute
    return np.asarray(depth > limit)


def _minimum_filter(values: NDArray[np.float32], reach: int, axis: int) -> NDArray[np.float32]:
    """The least of the values up to `reach` steps away along one axis."""
    source, result = np.moveaxis(values, axis, 0), values.copy()
    target = np.moveaxis(result, axis, 0)
    for step in range(1, min(reach, len(source) - 1) + 1):
        np.minimum(target[step:], source[:-step], out=target[step:])
        np.minimum(target[:-step], source[step:], out=target[:-step])
    return result


def nearest_per_cell(
    cell: NDArray[np.int64],  # [P]
    depth: NDArray[np.float32],  # [P]
) -> NDArray[np.int64]:
    """For every cell that occurs, the row of its nearest point; of equally near ones the first."""
    order = np.lexsort((depth, cell))
    sorted_cells = cell[order]
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = sorted_cells[1:] != sorted_cells[:-1]
    return order[first]


def scatter_points(
    cell: NDArray[np.int64],  # [P, 2] row, col
    points: ProjectedPoints,
    shape: tuple[int, int],
) -> ImageLabels:
    """Writes every point's label and instance into its cell; the nearest point wins a cell."""
    winners = nearest_per_cell(cell[:, 0] * shape[1] + cell[:, 1], points.depth)
    row, col = cell[winners].T
    result = ImageLabels(np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64))
    result.labels[row, col] = points.labels[winners]
    result.instances[row, col] = points.instances[winners]
    return result
