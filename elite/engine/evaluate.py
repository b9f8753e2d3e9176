"""Runs a network over labelled scans: one confusion matrix, one loss."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elite.config import to_mapping
from elite.data import DatasetSpec, SemanticKitti, validation_loader
from elite.engine.point_labels import point_labels
from elite.files import write_text
from elite.losses import SegmentationLoss
from elite.metrics import ConfusionMatrix, Scores, scores
from elite.pictures import confusion_picture
from elite.student import Student
from elite.types import Batch

__all__ = ["Evaluation", "InferenceNetwork", "SplitResult", "evaluate", "evaluate_split"]

# Points [N, 4], batch index [N], number of scans -> logits [N, C], whether a point is inside [N].
InferenceNetwork = Callable[[torch.Tensor, torch.Tensor, int], tuple[torch.Tensor, torch.Tensor]]


@dataclass
class Evaluation:
    """What an evaluation adds up, so that several processes can be added up too.

    Attributes:
        matrix: row = truth, column = prediction.
        loss: sum over scans of the training loss without augmentation.
        outside: points outside the network's range, which took their nearest point's label.
    """

    matrix: torch.Tensor  # [C, C] int64
    loss: float = 0.0
    num_scans: int = 0
    num_points: int = 0
    outside: int = 0

    @property
    def mean_loss(self) -> float:
        return self.loss / max(self.num_scans, 1)

    @property
    def counts(self) -> NDArray[np.int64]:
        return np.asarray(self.matrix.cpu().numpy())


@dataclass
class SplitResult:
    """An evaluation as it is reported."""

    split: str
    num_scans: int
    outside_fraction: float
    scores: Scores


@torch.no_grad()
def evaluate(
    network: InferenceNetwork,
    batches: Iterable[Batch],
    num_classes: int,
    device: torch.device,
    loss: SegmentationLoss | None = None,
) -> Evaluation:
    """Evaluates labelled batches. Every labelled point counts, also outside the network's range."""
    matrix = ConfusionMatrix(num_classes, device)
    result = Evaluation(matrix.counts)
    for batch in (b.to(device) for b in batches):
        assert batch.labels is not None, "evaluation needs labels"
        logits, valid = network(batch.points, batch.batch_index, batch.batch_size)
        predicted = point_labels(logits, valid, batch.points, batch.batch_index)
        matrix.update(predicted, batch.labels)
        result.num_scans += batch.batch_size
        result.num_points += len(batch.points)
        result.outside += int((~valid).sum())
        if loss is not None:
            terms = loss(logits, batch.labels.where(valid, 0))
            result.loss += float(terms.total) * batch.batch_size
    return result


def evaluate_split(
    student: Student,
    spec: DatasetSpec,
    roots: Sequence[Path],
    split: str,
    device: torch.device,
    output: Path,
    *,
    progress: Callable[[Any], Iterable[Batch]] = iter,
) -> SplitResult:
    """Evaluates a split and writes `scores.json` and `confusion.png` into the folder `output`."""
    network = student.to(device).eval().fused()
    loader = validation_loader(SemanticKitti(roots, split, spec))
    total = evaluate(network, progress(loader), spec.num_classes, device)
    result = SplitResult(
        split=split,
        num_scans=total.num_scans,
        outside_fraction=total.outside / max(total.num_points, 1),
        scores=scores(total.counts, spec.names),
    )
    report = {**to_mapping(result), "confusion_matrix": total.counts.tolist()}
    write_text(output / "scores.json", json.dumps(report, indent=2) + "\n")
    confusion_picture(total.counts, spec.names, output / "confusion.png")
    return result
