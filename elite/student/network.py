"""The network of ELiTe's student: four SPV blocks and a head over all scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike

from torch import Tensor, nn

from elite.student.block import SPVBlock
from elite.student.features import PointFeatures
from elite.student.fused import FusedStudent
from elite.student.head import Head
from elite.student.pyramid import Pyramid, build_pyramid
from elite.types import StageOutput, StudentOutput
from elite_ops import SparseTensor, transition

__all__ = ["Student", "StudentConfig"]


@dataclass(frozen=True)
class StudentConfig:
    """The student's shape. The defaults are ELiTe's on SemanticKITTI, with 1,933,460 parameters."""

    num_classes: int = 20
    channels: int = 64
    head_channels: int = 128
    point_cloud_range: tuple[float, ...] = (-50.0, -50.0, -4.0, 50.0, 50.0, 2.0)  # metres
    spatial_shape: tuple[int, int, int] = (1000, 1000, 60)
    scales: tuple[int, ...] = (1, 2, 4, 8, 16)
    nested: bool = False  # exact halving of voxels: faster, unlike published checkpoints

    def __post_init__(self) -> None:
        if len(self.scales) < 2 or self.scales[0] != 1:
            raise ValueError(
                f"StudentConfig: `scales` must start with 1 and name two or more, got {self.scales}"
            )


class Student(nn.Module):
    """SPVCNN's encoder with a point-wise head: LiDAR points in, one row of logits a point out.

    Source: ELiTe (Zhang et al., ICME 2024), whose student is 2DPASS's 4scale-64 (Yan et al., 2022).
    """

    def __init__(self, config: StudentConfig | None = None) -> None:
        super().__init__()
        self.config = config or StudentConfig()
        c = self.config
        num_blocks = len(c.scales) - 1
        self.point_features = PointFeatures(c.channels, c.point_cloud_range, c.spatial_shape)
        self.blocks = nn.ModuleList(SPVBlock(c.channels) for _ in range(num_blocks))
        self.head = Head(c.channels, num_blocks, c.head_channels, c.num_classes)

    @classmethod
    def from_reference_checkpoint(
        cls,
        checkpoint: str | PathLike[str] | Mapping[str, Tensor],
        config: StudentConfig | None = None,
        *,
        layout: str = "auto",
    ) -> Student:
        """A student with the weights of the authors' ELiTe, or of 2DPASS 4scale-64.

        Args:
            checkpoint: a file that `torch.load(weights_only=True)` reads, or its state dict; keys
                with or without `model_3d.`.
            config: the shape that the checkpoint was trained with.
            layout: of the convolution weights: "KRSC" (spconv 2.2 and later), "RSCK" (before), or
                "auto", which tells them apart by shape.

        Raises:
            ValueError: naming every key that is missing, unexpected or of the wrong shape.
        """
        from elite.student.checkpoint import load_reference_checkpoint

        student = cls(config)
        load_reference_checkpoint(student, checkpoint, layout)
        return student

    def pyramid(self, points: Tensor, batch_index: Tensor, batch_size: int) -> Pyramid:
        """The batch's voxels at every scale, and what leads from one to the next."""
        return build_pyramid(points, batch_index, batch_size, self.config)

    def forward(
        self,
        points: Tensor,  # [N, 4] float32: x, y, z (metres), remission
        batch_index: Tensor,  # [N] int64
        batch_size: int | None = None,
    ) -> StudentOutput:
        """Logits for every point of a batch of scans.

        Args:
            batch_size: number of scans; read from `batch_index` where it is not given, which costs
                a synchronisation on CUDA.

        Returns:
            `logits` [N, num_classes] in the order of the points, 0 for those outside the range;
            `valid` [N]; `stages`: each block's voxel features, which distillation reads.
        """
        if batch_size is None:
            batch_size = int(batch_index.max()) + 1 if batch_index.numel() else 1
        pyramid = self.pyramid(points, batch_index, batch_size)
        valid = pyramid.valid
        stages, outputs = self.encode(points, pyramid)
        logits = self.head(outputs, pyramid.levels[1:]) * valid[:, None]
        return StudentOutput(logits=logits, valid=valid, stages=stages)

    def fused(self) -> FusedStudent:
        """The inference form of this student, with the weights of the moment folded."""
        return FusedStudent(self)

    def encode(self, points: Tensor, pyramid: Pyramid) -> tuple[list[StageOutput], list[Tensor]]:
        """Runs the blocks: stage features, and each block's output on its coarser voxels."""
        features = self.point_features(points, pyramid.levels[0])
        stages, outputs = [], []
        for block, level, step in zip(self.blocks, pyramid.levels, pyramid.steps, strict=False):
            x = SparseTensor(features, level.voxels)
            stage, output = block(x, step)
            features = output + transition(stage, step.transition)
            stages.append(StageOutput(stage, level.points))
            outputs.append(output)
        return stages, outputs
