"""Segmentation scores from one confusion matrix, as the SemanticKITTI benchmark computes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

import elite_ops

__all__ = ["ClassScore", "ConfusionMatrix", "Scores", "scores"]


@dataclass(frozen=True)
class ClassScore:
    """One class. Where the truth has no point of it, `iou` and `recall` say nothing: None.

    Attributes:
        points: labelled points of this class in the truth.
        predicted: labelled points that were predicted to be of this class.
    """

    name: str
    points: int
    predicted: int
    iou: float | None
    precision: float | None
    recall: float | None


@dataclass(frozen=True)
class Scores:
    """Scores over all labelled points of a split, as fractions.

    Attributes:
        miou: mean over every class; a class that the truth lacks counts as 0, as in the benchmark.
        miou_present: mean over the classes that the truth has.
        accuracy: fraction of the labelled points with the right label.
        absent: classes that the truth lacks.
        classes: without class 0, in the order of the learning ids.
    """

    miou: float
    miou_present: float
    accuracy: float
    num_points: int
    absent: list[str]
    classes: list[ClassScore]


class ConfusionMatrix:
    """Counts of (true class, predicted class) over many scans, kept on the device."""

    def __init__(self, num_classes: int, device: torch.device | str = "cpu") -> None:
        self.num_classes = num_classes
        self.counts = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)

    def update(
        self,
        prediction: torch.Tensor,  # [N] int64
        target: torch.Tensor,  # [N] int64
    ) -> None:
        """Adds the points of a scan."""
        self.counts += elite_ops.confusion_matrix(prediction, target, self.num_classes)


def scores(
    matrix: NDArray[np.int64],  # [C, C], row = truth, column = prediction
    names: Sequence[str],
) -> Scores:
    """Scores of a confusion matrix whose class 0 is unlabelled.

    Points that are unlabelled in the truth are left out. A labelled point that was predicted as
    class 0 is a miss of its class.
    """
    counts = matrix.copy()
    counts[0] = 0
    hits = np.diag(counts)
    truth, predicted = counts.sum(axis=1), counts.sum(axis=0)
    union = truth + predicted - hits
    classes = [
        ClassScore(
            name=names[c],
            points=int(truth[c]),
            predicted=int(predicted[c]),
            iou=_fraction(hits[c], union[c]) if truth[c] else None,
            precision=_fraction(hits[c], predicted[c]),
            recall=_fraction(hits[c], truth[c]),
        )
        for c in range(1, len(counts))
    ]
    present = [c.iou for c in classes if c.iou is not None]
    return Scores(
        miou=sum(present) / max(len(classes), 1),
        miou_present=sum(present) / max(len(present), 1),
        accuracy=_fraction(hits.sum(), truth.sum()) or 0.0,
        num_points=int(truth.sum()),
        absent=[c.name for c in classes if c.iou is None],
        classes=classes,
    )


def _fraction(part: np.integer, whole: np.integer) -> float | None:
    return int(part) / int(whole) if whole else None
