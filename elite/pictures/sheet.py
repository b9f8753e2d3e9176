"""Panels with titles above a legend of the classes that they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from elite.data import DatasetSpec

__all__ = ["BACKGROUND", "display_colours", "error_colours", "present_classes", "sheet"]

BACKGROUND = (6, 6, 9)
TEXT = (226, 228, 234)
DARKEST = 120  # of a colour's largest channel, so that it stands out from the background
UNLABELLED = (58, 60, 68)
RIGHT = (74, 80, 92)  # a point whose prediction is right, where errors are shown
ERROR = (255, 64, 64)
GAP = 14  # pixels, between panels and around them
TITLE_HEIGHT = 34
ROW_HEIGHT = 26
SWATCH = 14


def sheet(
    panels: Mapping[str, Image.Image],  # title -> picture, all of one size
    spec: DatasetSpec,
    classes: Sequence[int],
    *,
    columns: int,
) -> Image.Image:
    """Arranges panels in a grid and writes the names of `classes` in their colours below."""
    width, height = next(iter(panels.values())).size
    rows = -(-len(panels) // columns)
    sheet_width = columns * width + (columns + 1) * GAP
    entries = _legend_entries(spec, classes, sheet_width)
    legend_top = rows * (height + TITLE_HEIGHT + GAP) + GAP
    legend_rows = entries[-1][1] + 1 if entries else 0
    result = Image.new(
        "RGB", (sheet_width, legend_top + legend_rows * ROW_HEIGHT + GAP), BACKGROUND
    )
    draw = ImageDraw.Draw(result)
    for i, (title, picture) in enumerate(panels.items()):
        left = GAP + (i % columns) * (width + GAP)
        top = GAP + (i // columns) * (height + TITLE_HEIGHT + GAP)
        draw.text((left, top), title, TEXT, _font(22))
        result.paste(picture, (left, top + TITLE_HEIGHT))
    for left, row, name, colour in entries:
        top = legend_top + row * ROW_HEIGHT
        draw.rounded_rectangle((left, top + 3, left + SWATCH, top + 3 + SWATCH), 3, colour)
        draw.text((left + SWATCH + 7, top), name, TEXT, _font(16))
    return result


def present_classes(*labels: NDArray[np.integer]) -> list[int]:
    """The learning ids, without 0, that occur in any of the arrays."""
    return [int(c) for c in np.unique(np.concatenate(labels)) if c != 0]


def display_colours(spec: DatasetSpec) -> NDArray[np.uint8]:  # [num_classes, 3]
    """The data set's colours, the darkest of them brightened; unlabelled is grey."""
    colours = spec.colours.astype(np.float64)
    lift = DARKEST / np.clip(colours.max(axis=1, keepdims=True), 1, DARKEST)
    display: NDArray[np.uint8] = (colours * lift).astype(np.uint8)
    display[0] = UNLABELLED
    return display


def error_colours(
    prediction: NDArray[np.integer],  # [N]
    truth: NDArray[np.integer],  # [N]
) -> NDArray[np.uint8]:  # [N, 3]
    """Grey where the prediction is right, red where it is wrong, dark where nothing is known."""
    wrong = prediction != truth
    colours: NDArray[np.uint8] = np.array([RIGHT, ERROR], dtype=np.uint8)[wrong.astype(np.int64)]
    colours[truth == 0] = np.array(RIGHT) // 3
    return colours


def _legend_entries(
    spec: DatasetSpec, classes: Sequence[int], width: int
) -> list[tuple[int, int, str, tuple[int, int, int]]]:
    """Left edge, row, name and colour of each class, filled row by row."""
    colours = display_colours(spec).tolist()
    entries = []
    left, row = GAP, 0
    for c in classes:
        needed = SWATCH + 7 + int(_font(16).getlength(spec.names[c])) + 22
        if left + needed > width and left > GAP:
            left, row = GAP, row + 1
        entries.append((left, row, spec.names[c], tuple(colours[c])))
        left += needed
    return entries


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along."""
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), size)
