"""The student as its definition reads: every MLP and mean at the points, nothing folded or moved.

It computes with the modules and weights of a `Student`. What voxelizes, averages, gathers and
convolves is a parameter (`Parts`): this library's ops here, what the authors use in
`authors_parts.py`.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elite.student import Student, StudentConfig
from elite.student.pyramid import Level, Step
from elite_ops import Segments, SparseTensor, segment_mean, voxel_to_point

__all__ = ["Group", "LiteralStudent", "OwnParts", "Parts", "Scale"]

NEGATIVE_SLOPE = 0.1


class Group(Protocol):
    """Which rows belong together: the points of a voxel, or the voxels of a coarser one."""

    def mean(self, rows: Tensor) -> Tensor:
        """Of the rows of each group."""

    def gather(self, means: Tensor) -> Tensor:
        """To each row what its group has."""


class Scale(Protocol):
    """The voxels of a batch at one scale."""

    indices: Tensor  # [V, 4]: batch, x, y, z
    points: Group

    def halved(self) -> Group:
        """The voxels by halved coordinates."""

    def convolve(self, layer: nn.Module, rows: Tensor) -> Tensor:
        """A 3 x 3 x 3 submanifold convolution; the kernel map is built once a scale."""


class Parts(ABC):
    """What the definition is computed with."""

    @abstractmethod
    def prepare(self, student: Student) -> None:
        """Puts in the convolution layers that `Scale.convolve` takes."""

    @abstractmethod
    def scales(
        self, config: StudentConfig, points: Tensor, batch_index: Tensor, batch_size: int
    ) -> list[Scale]:
        """Voxels at each scale; all points are inside the range."""


class LiteralStudent(nn.Module):
    """A copy of `student` that computes with `parts`, in the mode that the student is in."""

    def __init__(self, student: Student, parts: Parts) -> None:
        super().__init__()
        self.student, self.parts = copy.deepcopy(student), parts
        parts.prepare(self.student)

    def forward(
        self, points: Tensor, batch_index: Tensor, batch_size: int
    ) -> tuple[Tensor, Tensor]:
        """Logits [N, num_classes] (0 outside the range) and which points are inside, [N] bool."""
        valid = self.inside(points)
        points_inside = points[valid]
        inner = self.logits(
            points_inside, self.scales(points_inside, batch_index[valid], batch_size)
        )
        logits = inner.new_zeros(len(points), inner.shape[1])
        return logits.index_put((valid,), inner), valid

    def inside(self, points: Tensor) -> Tensor:
        low, high = points.new_tensor(self.student.config.point_cloud_range).view(2, 3)
        return ((points[:, :3] > low) & (points[:, :3] < high)).all(dim=1)

    def scales(self, points: Tensor, batch_index: Tensor, batch_size: int) -> list[Scale]:
        return self.parts.scales(self.student.config, points, batch_index, batch_size)

    def logits(self, points: Tensor, scales: list[Scale]) -> Tensor:
        """The network alone: of points that are inside the range, whose voxels are known."""
        student: Any = self.student
        described = describe(points, scales[0], student.config)
        features = scales[0].points.mean(student.point_features.mlp(described))
        outputs = []
        for block, fine, coarse in zip(student.blocks, scales, scales[1:], strict=False):
            stage = features
            for residual in block.voxel_branch:
                stage = residual_block(residual, fine, stage)
            mixed = point_branch(block.point_branch, fine, features + stage)
            output = coarse.points.mean(block.point_branch.output(fine.points.gather(mixed)))
            features = output + coarse.points.mean(fine.points.gather(stage))
            outputs.append(coarse.points.gather(output))
        hidden = F.relu(student.head.hidden(torch.cat(outputs, dim=1)))
        logits: Tensor = student.head.logits(hidden)
        return logits


def describe(points: Tensor, scale: Scale, config: StudentConfig) -> Tensor:
    """The ten features of a point: itself, and its offsets from its voxel's mean and corner."""
    xyz = points[:, :3]
    low, high = points.new_tensor(config.point_cloud_range).view(2, 3)
    size = (high - low) / points.new_tensor(config.spatial_shape)
    corner = scale.points.gather(scale.indices[:, 1:].to(points.dtype)) * size + low
    mean = scale.points.gather(scale.points.mean(xyz))
    return torch.cat([points, xyz - mean, xyz - corner], dim=1)


def residual_block(block: Any, scale: Scale, x: Tensor) -> Tensor:
    inner = F.leaky_relu(block.norm1(scale.convolve(block.conv1, x)), NEGATIVE_SLOPE)
    inner = block.norm2(scale.convolve(block.conv2, inner))
    return F.leaky_relu(inner + block.shortcut_norm(block.shortcut(x)), NEGATIVE_SLOPE)


def point_branch(branch: Any, scale: Scale, x: Tensor) -> Tensor:
    """Without the output MLP, which runs at the points."""
    halved = scale.halved()
    context = halved.gather(branch.context(halved.mean(x)))
    return torch.cat([F.leaky_relu(branch.identity(x), NEGATIVE_SLOPE), context], dim=1)


class OwnGroup:
    def __init__(self, segments: Segments) -> None:
        self.segments = segments

    def mean(self, rows: Tensor) -> Tensor:
        return segment_mean(rows, self.segments)

    def gather(self, means: Tensor) -> Tensor:
        return voxel_to_point(means, self.segments)


class OwnScale:
    def __init__(self, level: Level, step: Step | None, batch_size: int) -> None:
        self.level, self.step, self.batch_size = level, step, batch_size
        self.indices, self.points = level.voxels.indices, OwnGroup(level.points)

    def halved(self) -> OwnGroup:
        assert self.step is not None
        return OwnGroup(self.step.halved)

    def convolve(self, layer: nn.Module, rows: Tensor) -> Tensor:
        features: Tensor = layer(SparseTensor(rows, self.level.voxels)).features
        return features


class OwnParts(Parts):
    """This library's ops, so that the difference to `Student` is the formulation alone."""

    def prepare(self, student: Student) -> None:
        self.pyramid = student.pyramid

    def scales(
        self, config: StudentConfig, points: Tensor, batch_index: Tensor, batch_size: int
    ) -> list[Scale]:
        pyramid = self.pyramid(points, batch_index, batch_size)
        steps = [*pyramid.steps, None]
        return [
            OwnScale(level, step, batch_size)
            for level, step in zip(pyramid.levels, steps, strict=True)
        ]
