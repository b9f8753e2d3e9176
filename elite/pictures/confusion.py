"""A confusion matrix as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from elite.files import replacing

__all__ = ["confusion_picture"]

SMALLEST_SHOWN = 0.005  # fractions below half a percent get no number


def confusion_picture(
    matrix: NDArray[np.int64],  # [C, C], row = truth, column = prediction
    names: Sequence[str],
    path: Path,
) -> None:
    """Writes a PNG: each row is one true class, as fractions of its points.

    Classes that occur neither in the truth nor in the prediction of a labelled point are left out.
    """
    counts = matrix.copy()
    counts[0] = 0  # unlabelled points are not evaluated
    occurring = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    shown = occurring if occurring.size else np.array([0])  # a picture of nothing has one cell
    counts = counts[np.ix_(shown, shown)]
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.4 + 0.46 * max(len(shown), 1)
    figure = Figure(figsize=(side, side), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    labels = [names[c] for c in shown.tolist()]
    axes.set_xticks(range(len(shown)), labels, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(shown)), labels)
    axes.set_xlabel("prediction")
    axes.set_ylabel("truth")
    axes.set_title("Percent of each true class")
    for row, column in np.argwhere(fractions >= SMALLEST_SHOWN):
        value = fractions[row, column]
        colour = "white" if value > 0.55 else "black"
        text = f"{100 * value:.0f}"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")
