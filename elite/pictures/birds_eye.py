"""A scan from above, coloured by class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from elite.data import DatasetSpec
from elite.pictures.sheet import (
    BACKGROUND,
    display_colours,
    error_colours,
    present_classes,
    sheet,
)

__all__ = ["birds_eye"]

OVERSAMPLING = 2
RING_SPACING = 10.0  # metres
RING = (38, 41, 49)
SENSOR = (240, 240, 240)


def birds_eye(
    points: NDArray[np.float32],  # [N, 3 + F], metres
    prediction: NDArray[np.integer],  # [N] learning ids
    truth: NDArray[np.integer] | None,  # [N] learning ids
    spec: DatasetSpec,
    *,
    extent: float = 50.0,  # metres, from the sensor to the edge
    size: int = 640,  # pixels, of one panel
) -> Image.Image:
    """Prediction, truth and errors side by side; the sensor looks upwards.

    Without a truth there is one panel, the prediction.
    """
    labels = [prediction] if truth is None else [prediction, truth]
    of_class = display_colours(spec)
    panels = {"Prediction": _panel(points, of_class[prediction], extent, size)}
    if truth is not None:
        panels["Truth"] = _panel(points, of_class[truth], extent, size)
        colours = error_colours(prediction, truth)
        wrong = (prediction != truth) & (truth != 0)
        panels["Errors"] = _panel(points, colours, extent, size, on_top=wrong)
    return sheet(panels, spec, present_classes(*labels), columns=len(panels))


def _panel(
    points: NDArray[np.float32],
    colours: NDArray[np.uint8],  # [N, 3]
    extent: float,
    size: int,
    on_top: NDArray[np.bool_] | None = None,  # [N], drawn over the others
) -> Image.Image:
    """Points of the square around the sensor, higher ones over lower ones."""
    pixels = size * OVERSAMPLING
    canvas = np.asarray(_rings(extent, pixels)).copy()
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    inside = np.flatnonzero((np.abs(x) < extent) & (np.abs(y) < extent) & np.isfinite(z))
    height = z if on_top is None else z + 1000.0 * on_top
    inside = inside[np.argsort(height[inside], kind="stable")]
    scale = pixels / (2 * extent)
    row = ((extent - x[inside]) * scale).astype(np.int64)
    column = ((extent - y[inside]) * scale).astype(np.int64)
    radius = max(1, round(0.09 * scale))
    for d_row in range(-radius + 1, radius + 1):
        for d_column in range(-radius + 1, radius + 1):
            canvas[
                np.clip(row + d_row, 0, pixels - 1), np.clip(column + d_column, 0, pixels - 1)
            ] = colours[inside]
    return Image.fromarray(canvas).resize((size, size), Image.Resampling.LANCZOS)


def _rings(extent: float, pixels: int) -> Image.Image:
    """Circles every ten metres around the sensor, which is an arrowhead."""
    image = Image.new("RGB", (pixels, pixels), BACKGROUND)
    draw = ImageDraw.Draw(image)
    centre, scale = pixels / 2, pixels / (2 * extent)
    for radius in np.arange(RING_SPACING, extent * 1.42, RING_SPACING) * scale:
        box = (centre - radius, centre - radius, centre + radius, centre + radius)
        draw.ellipse(box, outline=RING, width=OVERSAMPLING)
    tip, wing = 1.6 * scale, 0.8 * scale
    arrow = [(centre, centre - tip), (centre - wing, centre + wing), (centre + wing, centre + wing)]
    draw.polygon(arrow, fill=SENSOR)
    return image
