"""The SPV block: sparse convolutions on voxels beside an MLP with a wider context."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elite.student.pyramid import Step
from elite_ops import SparseTensor, segment_mean, transition, voxel_to_point
from elite_ops.nn import SubmanifoldConv3d

__all__ = ["NEGATIVE_SLOPE", "PointBranch", "ResidualBlock", "SPVBlock"]

NEGATIVE_SLOPE = 0.1


class ResidualBlock(nn.Module):
    """Two 3x3x3 submanifold convolutions and a linear shortcut, each with batch norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = SubmanifoldConv3d(channels, channels, 3, bias=False)
        self.norm1 = nn.BatchNorm1d(channels)
        self.conv2 = SubmanifoldConv3d(channels, channels, 3, bias=False)
        self.norm2 = nn.BatchNorm1d(channels)
        self.shortcut = nn.Linear(channels, channels, bias=False)
        self.shortcut_norm = nn.BatchNorm1d(channels)

    def forward(self, x: SparseTensor) -> SparseTensor:
        inner = self.conv1(x)
        inner = inner.replace(_activated(self.norm1(inner.features)))
        residual = self.norm2(self.conv2(inner).features)
        residual += self.shortcut_norm(self.shortcut(x.features))
        return x.replace(_activated(residual))


def _activated(x: Tensor) -> Tensor:
    """In place: no gradient needs the output of a batch norm or of a linear layer."""
    return F.leaky_relu(x, NEGATIVE_SLOPE, inplace=True)


class PointBranch(nn.Module):
    """Each voxel beside the mean of its 2x2x2 neighbourhood, mixed by an MLP."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.identity = nn.Linear(channels, channels)
        self.context = nn.Sequential(
            nn.Linear(channels, half),
            nn.LeakyReLU(NEGATIVE_SLOPE),
            nn.BatchNorm1d(half),
            nn.Linear(half, half),
            nn.LeakyReLU(NEGATIVE_SLOPE),
            nn.BatchNorm1d(half),
            nn.Linear(half, channels),
            nn.LeakyReLU(NEGATIVE_SLOPE),
        )
        self.output = nn.Sequential(
            nn.Linear(2 * channels, channels),
            nn.LeakyReLU(NEGATIVE_SLOPE),
            nn.Linear(channels, channels),
        )

    def forward(
        self,
        features: Tensor,  # [V, C]
        step: Step,
    ) -> Tensor:  # [V_coarse, C]
        """Linear maps run on whichever side of a gather or a mean has fewer rows."""
        mix, _, last = cast("tuple[nn.Linear, nn.Module, nn.Linear]", self.output)
        of_identity, of_context = torch.split(mix.weight, self.identity.out_features, dim=1)
        identity = _activated(self.identity(features))
        context = F.linear(self.context(segment_mean(features, step.halved)), of_context)
        mixed = F.linear(identity, of_identity, mix.bias)
        mixed += voxel_to_point(context, step.halved)
        output: Tensor = last(transition(_activated(mixed), step.transition))
        return output


class SPVBlock(nn.Module):
    """One scale of the student: voxel branch, point branch, and the way to the next scale."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.voxel_branch = nn.Sequential(ResidualBlock(channels), ResidualBlock(channels))
        self.point_branch = PointBranch(channels)

    def forward(
        self,
        x: SparseTensor,  # features [V, C] of the finer scale
        step: Step,
    ) -> tuple[Tensor, Tensor]:  # stage features [V, C], point branch's output [V_coarse, C]
        stage: Tensor = self.voxel_branch(x).features
        return stage, self.point_branch(x.features + stage, step)
