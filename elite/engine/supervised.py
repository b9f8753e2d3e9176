"""Training the student alone, from labelled points."""

from __future__ import annotations

import torch

from elite.data import DatasetSpec, SemanticKitti, TrainingScans
from elite.engine.initialize import initialize
from elite.engine.task import Plan, Task
from elite.engine.train_config import TrainConfig
from elite.losses import SegmentationLoss, SegmentationTerms
from elite.student import Student
from elite.types import Batch, StudentOutput

__all__ = ["Supervised", "SupervisedTask", "new_student", "student_loss"]


def new_student(config: TrainConfig) -> Student:
    """The student that a run begins with; the same for every kind of training with this seed."""
    torch.manual_seed(config.seed)
    student = Student(config.student)
    initialize(student)
    return student


class Supervised:
    """The recipe of `elite train`.

    Args:
        network: instead of the student of `config`: a module with its interface.
    """

    def __init__(self, config: TrainConfig, network: torch.nn.Module | None = None) -> None:
        self.config = config
        self.network = network

    def training_scans(self, spec: DatasetSpec) -> TrainingScans:
        data = self.config.data
        scans = SemanticKitti(data.roots, data.train_split, spec)
        return TrainingScans(
            scans, self.config.augmentation, self.config.seed, cut_mix=self.config.cut_mix
        )

    def task(self, plan: Plan) -> SupervisedTask:
        loss = SegmentationLoss(plan.class_weights, self.config.lovasz_weight)
        return SupervisedTask(self.network or new_student(self.config), loss)


class SupervisedTask(Task):
    """The student's own loss."""

    def __init__(self, student: torch.nn.Module, loss: SegmentationLoss) -> None:
        super().__init__(student)
        self.loss = loss

    def forward(self, batch: Batch) -> SegmentationTerms:
        output = self.student(batch.points, batch.batch_index, batch.batch_size)
        return student_loss(self.loss, output, batch)


def student_loss(loss: SegmentationLoss, output: StudentOutput, batch: Batch) -> SegmentationTerms:
    """The student's own loss, in float32."""
    assert batch.labels is not None, "training needs labels"
    # A point outside the range has a row of zeros instead of a prediction: nothing to learn.
    labels = batch.labels.where(output.valid, 0)
    with torch.autocast(batch.points.device.type, enabled=False):
        terms: SegmentationTerms = loss(output.logits.float(), labels)
    return terms
