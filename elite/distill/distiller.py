"""Patch-to-point multi-stage distillation: what the student's stages learn from the teacher's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from elite.distill.heads import PatchHead, VoxelHead
from elite.losses import SegmentationLoss
from elite.types import Batch, CameraBatch, StageOutput, StudentOutput
from elite_ops import distillation_loss, majority_vote

__all__ = ["DistillConfig", "DistillTerms", "Distiller"]


@dataclass(frozen=True)
class DistillConfig:
    """The weights of the losses; the defaults are those of the paper's code.

    Attributes:
        stages: which of the stages 1, 2, ... learn, in rising order; one that is left out has no
            heads.
        student_weight: of each student head's loss on its voxels.
        teacher_weight: of the teacher heads' losses, averaged over all stages.
        distillation_weight: of the divergence from the teacher, averaged over all stages.
        multi_stage_weight: of the head on all of the teacher's stages; 0 leaves that head out.
        lovasz_weight: of the Lovász term beside the cross-entropy, in each head's loss.
        temperature: divides the logits of both before they are compared.
        reduction: of the divergence: its mean over points and classes ("mean", the paper's code,
            1/20 of the divergence of a point with 20 classes) or over points ("batchmean").
        pixel_stride: of dense pseudo-labels, every so many rows and columns are learned; 1 is all.
        voxel_hidden: hidden features of a student head.
        pixel_hidden: hidden features of a teacher head.
    """

    stages: tuple[int, ...] = (1, 2, 3, 4)
    student_weight: float = 1.0
    teacher_weight: float = 1.0
    distillation_weight: float = 0.05
    multi_stage_weight: float = 1.0
    lovasz_weight: float = 1.0
    temperature: float = 1.0
    reduction: Literal["mean", "batchmean"] = "mean"
    pixel_stride: int = 1
    voxel_hidden: int = 128
    pixel_hidden: int = 192

    @property
    def teacher_stages(self) -> tuple[int, ...] | None:
        """The stages whose maps the teacher must give; None for all."""
        return None if self.multi_stage_weight else self.stages


@dataclass
class DistillTerms:
    """The weighted terms, added up over the stages, and their sum."""

    total: Tensor  # []
    student_heads: Tensor  # []
    teacher_heads: Tensor  # []
    distillation: Tensor  # []
    multi_stage: Tensor  # []


@dataclass
class _Pixels:
    """Labelled pixels of a batch of images; `are_points` where they are those of the points."""

    pixel: Tensor  # [P, 2] int32
    image_index: Tensor  # [P] int64
    labels: Tensor  # [P] int64
    are_points: bool


@dataclass
class _Sums:
    """What the stages add to."""

    student_heads: list[Tensor] = field(default_factory=list)
    teacher_heads: list[Tensor] = field(default_factory=list)
    distillation: list[Tensor] = field(default_factory=list)


class Distiller(nn.Module):
    """Heads on the stages of student and teacher, used in training only, and their losses.

    The student's heads learn the commonest label of each voxel; the teacher's learn the dense
    pseudo-labels, or the labels of the projected points where there are none; and the student's
    answer at each projected point is drawn towards the teacher's at its pixel.

    Source: ELiTe (Zhang et al., ICME 2024), after 2DPASS (Yan et al., ECCV 2022).
    """

    def __init__(
        self,
        config: DistillConfig,
        class_weights: Tensor,  # [num_classes]
        *,
        student_channels: int = 64,
        patch_channels: int = 96,
        num_stages: int = 4,
    ) -> None:
        super().__init__()
        every = tuple(range(1, num_stages + 1))
        if config.stages != tuple(stage for stage in every if stage in config.stages):
            raise ValueError(
                f"Distiller: `stages` must be of 1..{num_stages} and rise, got {config.stages}"
            )
        if config.pixel_stride < 1:
            raise ValueError(
                f"Distiller: `pixel_stride` must be 1 or more, got {config.pixel_stride}"
            )
        self.config = config
        self.num_stages = num_stages
        self.map_stages = every if config.teacher_stages is None else config.teacher_stages
        self.num_classes = len(class_weights)
        self.loss = SegmentationLoss(class_weights, config.lovasz_weight)
        stages = [str(stage) for stage in config.stages]
        voxel_shape = (student_channels, config.voxel_hidden, self.num_classes)
        self.student_heads = nn.ModuleDict({s: VoxelHead(*voxel_shape) for s in stages})
        pixel_shape = (config.pixel_hidden, self.num_classes)
        self.teacher_heads = nn.ModuleDict(
            {s: PatchHead(patch_channels, 1, *pixel_shape) for s in stages}
        )
        self.multi_stage_head = (
            PatchHead(patch_channels, num_stages, *pixel_shape)
            if config.multi_stage_weight
            else None
        )

    def forward(
        self,
        output: StudentOutput,
        stage_maps: Sequence[Tensor],  # per stage that is asked for [B, patch_channels, h, w]
        batch: Batch,
    ) -> DistillTerms:
        """The losses of distillation; the student's own loss is not among them.

        Args:
            output: of the student on the batch's points.
            stage_maps: of the teacher's `DistillConfig.teacher_stages` on the batch's images; not
                read for a batch without a camera, for which only the student's heads learn.
            batch: with labels.

        Raises:
            ValueError: if the batch has no labels, or a number of stages is not the configured one.
        """
        self._check(output, stage_maps, batch)
        assert batch.labels is not None
        pixels = None if batch.camera is None else self._labelled_pixels(batch.camera, batch.labels)
        maps = dict(zip(self.map_stages, stage_maps, strict=batch.camera is not None))
        sums = _Sums()
        for stage in self.config.stages:
            voxels = output.stages[stage - 1]
            logits = self.student_heads[str(stage)](voxels.features).float()
            sums.student_heads.append(self._voxel_loss(logits, voxels, batch.labels))
            if batch.camera is not None and pixels is not None:
                teacher, loss = self._teach(stage, maps[stage], pixels, batch.camera)
                sums.teacher_heads.append(loss)
                sums.distillation.append(self._divergence(logits, teacher, voxels, batch.camera))
        return self._weighted(sums, self._multi_stage_loss(stage_maps, pixels, batch.camera))

    # ---- the terms -------------------------------------------------------------------------------

    def _voxel_loss(self, logits: Tensor, voxels: StageOutput, labels: Tensor) -> Tensor:
        target = majority_vote(labels, voxels.segments, self.num_classes)
        return self._supervised(logits, target)

    def _teach(
        self, stage: int, stage_map: Tensor, pixels: _Pixels, camera: CameraBatch
    ) -> tuple[Tensor, Tensor]:
        """The teacher's logits of the projected points, as constants, and its head's loss."""
        head = self.teacher_heads[str(stage)]
        assert isinstance(head, PatchHead)
        hidden = head.hidden_map([stage_map])
        size = camera.image_size
        logits = head.read(hidden, pixels.pixel, pixels.image_index, size)
        loss = self._supervised(logits, pixels.labels)
        if pixels.are_points:
            return logits.detach(), loss
        with torch.no_grad():
            return head.read(hidden, camera.pixel, camera.image_index, size), loss

    def _divergence(
        self, logits: Tensor, teacher: Tensor, voxels: StageOutput, camera: CameraBatch
    ) -> Tensor:
        """From the teacher at a point's pixel to the student in its voxel."""
        return distillation_loss(
            logits,
            teacher.float(),
            voxels.segments.inverse[camera.point_index],
            temperature=self.config.temperature,
            reduction=self.config.reduction,
        )

    def _multi_stage_loss(
        self, stage_maps: Sequence[Tensor], pixels: _Pixels | None, camera: CameraBatch | None
    ) -> list[Tensor]:
        head = self.multi_stage_head
        if head is None or pixels is None or camera is None:
            return []
        hidden = head.hidden_map(stage_maps)
        logits = head.read(hidden, pixels.pixel, pixels.image_index, camera.image_size)
        return [self._supervised(logits, pixels.labels)]

    def _supervised(self, logits: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            total: Tensor = self.loss(logits.float(), labels).total
        return total

    def _weighted(self, sums: _Sums, multi_stage: list[Tensor]) -> DistillTerms:
        c = self.config
        weighted = [
            self._sum(terms) * weight
            for terms, weight in (
                (sums.student_heads, c.student_weight),
                (sums.teacher_heads, c.teacher_weight / self.num_stages),
                (sums.distillation, c.distillation_weight / self.num_stages),
                (multi_stage, c.multi_stage_weight),
            )
        ]
        return DistillTerms(self._sum(weighted), *weighted)

    def _sum(self, terms: list[Tensor]) -> Tensor:
        return torch.stack(terms).sum() if terms else self.loss.class_weights.new_zeros(())

    # ---- the pixels ------------------------------------------------------------------------------

    def _labelled_pixels(self, camera: CameraBatch, labels: Tensor) -> _Pixels:
        """What the teacher's heads learn from: labelled pixels, else the projected points."""
        dense = camera.pseudo_labels
        if dense is None:
            point_labels = labels[camera.point_index]
            return _Pixels(camera.pixel, camera.image_index, point_labels, are_points=True)
        stride = self.config.pixel_stride
        dense = dense[:, ::stride, ::stride]
        image_index, row, column = dense.nonzero(as_tuple=True)
        pixel = (torch.stack([row, column], dim=1) * stride).int()
        return _Pixels(pixel, image_index, dense[image_index, row, column], are_points=False)

    def _check(self, output: StudentOutput, stage_maps: Sequence[Tensor], batch: Batch) -> None:
        if batch.labels is None:
            raise ValueError("Distiller: `batch` must have labels")
        counts = {"output.stages": (len(output.stages), self.num_stages)}
        if batch.camera is not None:
            counts["stage_maps"] = (len(stage_maps), len(self.map_stages))
        for name, (count, wanted) in counts.items():
            if count != wanted:
                raise ValueError(f"Distiller: `{name}` must be {wanted}, got {count}")
