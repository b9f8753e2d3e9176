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
from elite.engine.tta import InferenceNetwork, add_views
from elite.files import write_text
from elite.losses import SegmentationLoss
from elite.metrics import ConfusionMatrix, Scores, scores
from elite.pictures import confusion_picture
from elite.student import Student
from elite.types import Batch

__all__ = ["Evaluation", "SplitResult", "evaluate", "evaluate_split", "evaluate_views"]


@dataclass
class Evaluation:
    """What an evaluation adds up, so that several processes can be added up too.

    Attributes:
        loss: sum over scans of the training loss without augmentation.
        outside: points outside the network's range, which took their nearest point's label.
    """

    confusion: ConfusionMatrix
    loss: float = 0.0
    num_scans: int = 0
    num_points: int = 0
    outside: int = 0

    def add(self, batch: Batch, logits: torch.Tensor, valid: torch.Tensor) -> None:
        """Counts a labelled batch. Every labelled point counts, also outside the range."""
        assert batch.labels is not None, "evaluation needs labels"
        predicted = point_labels(logits, valid, batch.points, batch.batch_index)
        self.confusion.update(predicted, batch.labels)
        self.num_scans += batch.batch_size
        self.num_points += len(batch.points)
        self.outside += int((~valid).sum())

    @property
    def mean_loss(self) -> float:
        return self.loss / max(self.num_scans, 1)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Row = truth, column = prediction."""
        return np.asarray(self.confusion.counts.cpu().numpy())


@dataclass
class SplitResult:
    """An evaluation as it is reported.

    Attributes:
        scores: of the scans as they are.
        views: how many views' logits were summed for `tta_scores`.
    """

    split: str
    num_scans: int
    outside_fraction: float
    scores: Scores
    views: int = 1
    tta_scores: Scores | None = None


@torch.no_grad()
def evaluate(
    network: InferenceNetwork,
    batches: Iterable[Batch],
    num_classes: int,
    device: torch.device,
    loss: SegmentationLoss | None = None,
) -> Evaluation:
    """Evaluates labelled batches as they are."""
    result = Evaluation(ConfusionMatrix(num_classes, device))
    for batch in (b.to(device) for b in batches):
        logits, valid = network(batch.points, batch.batch_index, batch.batch_size)
        result.add(batch, logits, valid)
        if loss is not None and batch.labels is not None:
            terms = loss(logits, batch.labels.where(valid, 0))
            result.loss += float(terms.total) * batch.batch_size
    return result


@torch.no_grad()
def evaluate_views(
    network: InferenceNetwork,
    batches: Iterable[Batch],
    num_classes: int,
    device: torch.device,
    views: Sequence[torch.Tensor],  # [4, 4] each, the identity first
) -> tuple[Evaluation, Evaluation]:
    """Evaluates labelled batches as they are, and with the logits of all `views` summed."""
    plain = Evaluation(ConfusionMatrix(num_classes, device))
    voted = Evaluation(ConfusionMatrix(num_classes, device))
    for batch in (b.to(device) for b in batches):
        scans = (batch.points, batch.batch_index, batch.batch_size)
        first = network(*scans)
        plain.add(batch, *first)
        voted.add(batch, *add_views(network, *scans, first, views))
    return plain, voted


def evaluate_split(
    student: Student,
    spec: DatasetSpec,
    roots: Sequence[Path],
    split: str,
    device: torch.device,
    output: Path,
    *,
    views: Sequence[torch.Tensor] = (),
    progress: Callable[[Any], Iterable[Batch]] = iter,
) -> SplitResult:
    """Evaluates a split and writes `scores.json` and `confusion.png` into the folder `output`.

    Args:
        views: of `view_transforms`; with more than one, their summed logits are scored too.
    """
    network = student.to(device).eval().fused()
    batches = progress(validation_loader(SemanticKitti(roots, split, spec)))
    voted: Evaluation | None = None
    if len(views) > 1:
        plain, voted = evaluate_views(network, batches, spec.num_classes, device, views)
    else:
        plain = evaluate(network, batches, spec.num_classes, device)
    result = SplitResult(
        split=split,
        num_scans=plain.num_scans,
        outside_fraction=plain.outside / max(plain.num_points, 1),
        scores=scores(plain.counts, spec.names),
        views=max(len(views), 1),
        tta_scores=None if voted is None else scores(voted.counts, spec.names),
    )
    report = {**to_mapping(result), "confusion_matrix": plain.counts.tolist()}
    write_text(output / "scores.json", json.dumps(report, indent=2) + "\n")
    confusion_picture(plain.counts, spec.names, output / "confusion.png")
    return result
