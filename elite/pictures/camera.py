"""Labelled points over the camera image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from elite.data import DatasetSpec
from elite.pictures.sheet import display_colours, present_classes, sheet

__all__ = ["camera_overlay", "project"]

BRIGHTNESS = 0.55  # of the image under the points
NEAR, FAR = 5.0, 40.0  # metres: distances of the largest and the smallest dot
LARGEST, SMALLEST = 3.4, 1.4  # pixels, radius
OVERSAMPLING = 2


def camera_overlay(
    image: NDArray[np.uint8],  # [H, W, 3]
    projection: NDArray[np.float32],  # [3, 4]
    points: NDArray[np.float32],  # [N, 3 + F], metres
    prediction: NDArray[np.integer],  # [N] learning ids
    truth: NDArray[np.integer] | None,  # [N] learning ids
    spec: DatasetSpec,
) -> Image.Image:
    """Prediction above truth, each as dots on the darkened image."""
    column, row, depth, visible = project(points, projection, (image.shape[0], image.shape[1]))
    order = np.flatnonzero(visible)[np.argsort(-depth[visible], kind="stable")]
    panels = {}
    for title, labels in (("Prediction", prediction), ("Truth", truth)):
        if labels is not None:
            shown = order[labels[order] != 0]
            colours = display_colours(spec)[labels[shown]]
            panels[title] = _dots(image, column[shown], row[shown], depth[shown], colours)
    shown_labels = [a[order] for a in (prediction, truth) if a is not None]
    return sheet(panels, spec, present_classes(*shown_labels), columns=1)


def project(
    points: NDArray[np.float32],  # [N, 3 + F]
    projection: NDArray[np.float32],  # [3, 4]
    image_size: tuple[int, int],
) -> tuple[
    NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]
]:  # column, row, depth (metres), visible: [N] each
    """Image coordinates of points, and which of them are ahead of the sensor and in the image."""
    homogeneous = np.c_[points[:, :3], np.ones(len(points))].astype(np.float64)
    u, v, depth = (homogeneous @ projection.T.astype(np.float64)).T
    safe = np.where(depth > 0, depth, 1.0)
    column, row = u / safe, v / safe
    height, width = image_size
    inside = (column > 0) & (column < width) & (row > 0) & (row < height)
    return column, row, depth, (points[:, 0] > 0) & (depth > 0) & inside


def _dots(
    image: NDArray[np.uint8],
    column: NDArray[np.float64],
    row: NDArray[np.float64],
    depth: NDArray[np.float64],
    colours: NDArray[np.uint8],
) -> Image.Image:
    """Dots that shrink with the distance, in the order given."""
    size = (image.shape[1], image.shape[0])
    dark = Image.fromarray((image * BRIGHTNESS).astype(np.uint8))
    canvas = dark.resize((size[0] * OVERSAMPLING, size[1] * OVERSAMPLING))
    draw = ImageDraw.Draw(canvas)
    nearness = np.clip((FAR - depth) / (FAR - NEAR), 0, 1)
    radii = (SMALLEST + (LARGEST - SMALLEST) * nearness) * OVERSAMPLING / 2
    x, y = column * OVERSAMPLING, row * OVERSAMPLING
    boxes = np.stack([x - radii, y - radii, x + radii, y + radii], axis=1).tolist()
    for box, colour in zip(boxes, colours.tolist(), strict=True):
        draw.ellipse(box, fill=tuple(colour))
    return canvas.resize(size, Image.Resampling.LANCZOS)
