"""Pseudo-labels against the exact labels of every pixel, which `elite simulate` writes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from elite.data import DatasetSpec, Frame, SemanticKitti, read_pseudo_labels
from elite.metrics import ConfusionMatrix, Scores, scores
from elite.pseudo_label.config import VisibilityConfig
from elite.pseudo_label.quality import nearest_labels
from elite.pseudo_label.scatter import scatter_points, visible_points

__all__ = ["TruthComparison", "compare_with_truth", "true_pixels"]


@dataclass
class TruthComparison:
    """Pseudo-labels beside the label of the nearest projected point, on the same images.

    Attributes:
        coverage: labelled pixels of the truth for which there is a pseudo-label.
        everywhere: pseudo-labels on all labelled pixels; where there is none, that is a miss.
        nearest_everywhere: the nearest label likewise, which there is for every pixel.
        covered: pseudo-labels where there are any.
        nearest_covered: the nearest label on the same pixels.
        filled: pseudo-labels, and the nearest label where there is none.
        spilled: pixels without a class, such as the sky, that have a pseudo-label all the same; all
            of them have a nearest label.
    """

    num_images: int
    coverage: float
    spilled: float
    everywhere: Scores
    nearest_everywhere: Scores
    covered: Scores
    nearest_covered: Scores
    filled: Scores


def true_pixels(frame: Frame) -> Path | None:
    """The image of exact labels beside the camera's, if there is one."""
    path = frame.image.parents[1] / "image_labels" / frame.image.name
    return path if path.is_file() else None


def compare_with_truth(
    data: Path, output: Path, spec: DatasetSpec, split: str
) -> TruthComparison | None:
    """Reads back the pseudo-labels of all frames whose pixels have exact labels, if there are any.

    The nearest label is taken from all projected points, hidden ones too: that serves it better.
    """
    scans = SemanticKitti([data], split, spec, images=True)
    matrices = [ConfusionMatrix(spec.num_classes) for _ in range(5)]
    every_point = VisibilityConfig(enabled=False)
    num_images = nowhere = spilled = 0
    for index, frame in enumerate(scans.frames):
        path, made = true_pixels(frame), frame.pseudo_labels(output)
        if path is None or not made.is_file():
            continue
        points = visible_points(scans[index], every_point)
        truth = read_pseudo_labels(path, spec, points.image_size)
        dense = read_pseudo_labels(made, spec, points.image_size)
        nearest = nearest_labels(scatter_points(points.pixel, points, points.image_size))
        covered = dense != 0
        filled = np.where(covered, dense, nearest)
        predictions = [dense, nearest, dense[covered], nearest[covered], filled]
        _add(matrices, predictions, truth, covered)
        num_images += 1
        nowhere += int((truth == 0).sum())
        spilled += int((covered & (truth == 0)).sum())
    if not num_images:
        return None
    results = [scores(matrix.counts.numpy(), spec.names) for matrix in matrices]
    coverage = results[2].num_points / max(results[0].num_points, 1)
    return TruthComparison(num_images, coverage, spilled / max(nowhere, 1), *results)


def _add(
    matrices: list[ConfusionMatrix],
    predictions: Iterable[NDArray[np.int64]],
    truth: NDArray[np.int64],  # [H, W]
    covered: NDArray[np.bool_],  # [H, W]
) -> None:
    """Counts the two predictions everywhere, the two on covered pixels, and the filled one."""
    targets = (truth, truth, truth[covered], truth[covered], truth)
    for matrix, prediction, target in zip(matrices, predictions, targets, strict=True):
        matrix.update(
            torch.from_numpy(prediction.reshape(-1)), torch.from_numpy(target.reshape(-1))
        )
