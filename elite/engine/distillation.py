"""Training the student with the teacher: the recipe of `elite distill`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn

from elite.data import (
    CameraConfig,
    DatasetSpec,
    SemanticKitti,
    TrainingScans,
)
from elite.distill import DistillConfig, Distiller
from elite.engine.supervised import new_student, student_loss
from elite.engine.task import Plan, Task
from elite.engine.train_config import TrainConfig
from elite.errors import EliteError
from elite.losses import SegmentationLoss
from elite.teacher import Teacher, TeacherConfig
from elite.types import Batch

__all__ = ["Distillation", "DistillationConfig", "DistillationTask", "DistillationTerms"]

FINGERPRINT = "frozen_teacher"


@dataclass(frozen=True)
class DistillationConfig(TrainConfig):
    """A run of the student with the teacher.

    Attributes:
        pseudo_labels: folder with the dense labels of the training images; null teaches the teacher
            with the labels of the projected points.
        held_out_pseudo_labels: allow those of a validation or test split, whose true labels they
            carry.
        teacher_lr_scale: the teacher's learning rate over the student's.
    """

    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    camera: CameraConfig = field(default_factory=CameraConfig)
    pseudo_labels: str | None = None
    held_out_pseudo_labels: bool = False
    teacher_lr_scale: float = 1.0

    def student_alone(self) -> TrainConfig:
        """The same run without the teacher."""
        return TrainConfig(**{f.name: getattr(self, f.name) for f in fields(TrainConfig)})


@dataclass
class DistillationTerms:
    """The student's own loss, the terms of distillation, and what keeps the adapters in shape."""

    total: Tensor  # []
    cross_entropy: Tensor  # []
    lovasz: Tensor  # []
    student_heads: Tensor  # []
    teacher_heads: Tensor  # []
    distillation: Tensor  # []
    multi_stage: Tensor  # []
    regularization: Tensor  # []


class Distillation:
    """The recipe of `elite distill`.

    Args:
        network: instead of the student of `config`: a module with its interface.
        teacher: instead of the teacher of `config`: likewise.
    """

    def __init__(
        self,
        config: DistillationConfig,
        network: nn.Module | None = None,
        teacher: Any = None,
    ) -> None:
        self.config = config
        self.network = network
        self.teacher = teacher

    def training_scans(self, spec: DatasetSpec) -> TrainingScans:
        c = self.config
        scans = SemanticKitti(
            c.data.roots,
            c.data.train_split,
            spec,
            images=True,
            require_images=c.camera.required,
            pseudo_labels=c.pseudo_labels,
            held_out_pseudo_labels=c.held_out_pseudo_labels,
        )
        return TrainingScans(scans, c.augmentation, c.seed, camera=c.camera, cut_mix=c.cut_mix)

    def task(self, plan: Plan) -> DistillationTask:
        c = self.config
        student = self.network or new_student(c)
        # Seeded anew for each part: none depends on how much another one draws.
        torch.manual_seed(c.seed)
        teacher = self.teacher or Teacher(
            c.teacher, plan.total_steps, stages=c.distill.teacher_stages
        )
        torch.manual_seed(c.seed)
        distiller = Distiller(
            c.distill,
            plan.class_weights,
            student_channels=c.student.channels,
            patch_channels=teacher.patch_channels,
            num_stages=teacher.num_stages,
        )
        loss = SegmentationLoss(plan.class_weights, c.lovasz_weight)
        return DistillationTask(student, loss, teacher, distiller, c.teacher_lr_scale)


class DistillationTask(Task):
    """Student, teacher and the heads between them.

    Checkpoints leave out the teacher's frozen weights, which are most of the whole: they come from
    its own checkpoint, or its seed, again. Resuming with other ones is refused.
    """

    def __init__(
        self,
        student: nn.Module,
        loss: SegmentationLoss,
        teacher: Any,
        distiller: Distiller,
        teacher_lr_scale: float = 1.0,
    ) -> None:
        super().__init__(student)
        self.loss = loss
        self.teacher = teacher
        self.distiller = distiller
        self.teacher_lr_scale = teacher_lr_scale
        self._fingerprint = _fingerprint(p for p in teacher.parameters() if not p.requires_grad)

    def forward(self, batch: Batch) -> DistillationTerms:
        output = self.student(batch.points, batch.batch_index, batch.batch_size)
        maps = [] if batch.camera is None else self.teacher(batch.camera.images)
        own = student_loss(self.loss, output, batch)
        terms = self.distiller(output, maps, batch)
        regularization = self.teacher.regularization()
        return DistillationTerms(
            total=own.total + terms.total + regularization + self._nothing(),
            cross_entropy=own.cross_entropy,
            lovasz=own.lovasz,
            student_heads=terms.student_heads,
            teacher_heads=terms.teacher_heads,
            distillation=terms.distillation,
            multi_stage=terms.multi_stage,
            regularization=regularization,
        )

    def parameter_groups(self) -> list[dict[str, Any]]:
        teacher = [p for p in self.teacher.parameters() if p.requires_grad]
        others = [*self.student.parameters(), *self.distiller.parameters()]
        return [{"params": others}, {"params": teacher, "lr_scale": self.teacher_lr_scale}]

    def after_step(self, step: int, updated: bool) -> None:
        self.teacher.after_step(step + 1, updated)

    def _nothing(self) -> Tensor:
        """Zero, reached by every trained weight beside the student.

        A batch without images would leave weights without a gradient, for which distributed
        training waits in vain.
        """
        weights = [*self.distiller.parameters(), *self.teacher.parameters()]
        return torch.stack([p.sum() * 0 for p in weights if p.requires_grad]).sum()

    # ---- checkpoints -----------------------------------------------------------------------------

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        state: dict[str, Any] = super().state_dict(*args, **kwargs)
        frozen = self._frozen()
        trained = {name: value for name, value in state.items() if name not in frozen}
        return {**trained, FINGERPRINT: self._fingerprint}

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        state = dict(state_dict)
        if not torch.equal(state.pop(FINGERPRINT), self._fingerprint):
            raise EliteError(
                "the teacher's frozen weights are not those that the run began with",
                "Put the checkpoint back that config.yaml names under teacher.checkpoint.",
            )
        return super().load_state_dict({**self._frozen(), **state}, *args, **kwargs)

    def _frozen(self) -> dict[str, Tensor]:
        named = self.teacher.named_parameters(prefix="teacher")
        return {name: p.detach() for name, p in named if not p.requires_grad}


def _fingerprint(weights: Iterable[Tensor]) -> Tensor:  # [number of weights] int64
    """One number a tensor, the sum of its bits as integers: the same in whichever order."""
    sums = [w.detach().cpu().float().view(torch.int32).sum(dtype=torch.int64) for w in weights]
    return torch.stack(sums) if sums else torch.zeros(0, dtype=torch.int64)
