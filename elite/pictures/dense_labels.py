"""Labels of pixels over the camera image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elite.data import DatasetSpec
from elite.pictures.sheet import display_colours, present_classes, sheet

__all__ = ["contact_sheet", "dense_overlay", "sparse_overlay"]

OPACITY = 0.62  # of the colours of classes
DIMMED = 0.5  # brightness of the image where there is no label
DOT = 1  # pixels around a labelled one that show its colour, too


def dense_overlay(
    image: NDArray[np.uint8],  # [H, W, 3]
    labels: NDArray[np.integer],  # [H, W] learning ids
    spec: DatasetSpec,
) -> Image.Image:
    """The image in the colours of its pixels' classes; pixels without a label are darker."""
    grey = image.astype(np.float32).mean(axis=2, keepdims=True)
    colours = display_colours(spec)[labels].astype(np.float32)
    light = 0.4 + 0.6 * grey / 255  # edges of the image stay visible
    blended = OPACITY * colours * light + (1 - OPACITY) * grey
    mixed = np.where((labels == 0)[..., None], DIMMED * image, blended)
    return Image.fromarray(mixed.astype(np.uint8))


def sparse_overlay(
    image: NDArray[np.uint8],  # [H, W, 3]
    labels: NDArray[np.integer],  # [H, W] learning ids, 0 at most pixels
    spec: DatasetSpec,
) -> Image.Image:
    """The darkened image with a dot at every labelled pixel."""
    mixed = (DIMMED * image).astype(np.uint8)
    row, col = np.nonzero(labels)
    colours = display_colours(spec)[labels[row, col]]
    height, width = labels.shape
    for d_row in range(-DOT, DOT + 1):
        for d_col in range(-DOT, DOT + 1):
            at = np.clip(row + d_row, 0, height - 1), np.clip(col + d_col, 0, width - 1)
            mixed[at] = colours
    return Image.fromarray(mixed)


def contact_sheet(
    frames: Sequence[Mapping[str, Image.Image]],  # title -> picture, the same titles in each
    labels: Sequence[NDArray[np.integer]],  # what the legend must name
    spec: DatasetSpec,
    *,
    width: int = 620,  # pixels, of one picture
) -> Image.Image:
    """One row of pictures a frame."""
    panels = {}
    size = next(iter(frames[0].values())).size
    small = (width, round(size[1] * width / size[0]))
    for pictures in frames:
        for title, picture in pictures.items():
            panels[title] = picture.resize(small, Image.Resampling.LANCZOS)
    classes = present_classes(*(array.reshape(-1) for array in labels))
    return sheet(panels, spec, classes, columns=len(frames[0]))
