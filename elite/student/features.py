"""From points to the features of the finest voxels."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elite.student.pyramid import Level
from elite_ops import segment_mean, voxel_to_point

__all__ = ["PointFeatures"]

# Columns of zeros behind the ten: BLAS takes ten times as long for the gradient of a weight whose
# width is not a multiple of its registers.
PADDING = 6


class PointFeatures(nn.Module):
    """Ten features a point, a two-layer MLP, and the mean over each voxel."""

    def __init__(
        self,
        channels: int,
        point_cloud_range: tuple[float, ...],  # metres
        spatial_shape: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(10, channels), nn.ReLU(), nn.Linear(channels, channels))
        low, high = torch.tensor(point_cloud_range).view(2, 3)
        self.register_buffer("low", low, persistent=False)
        self.register_buffer(
            "voxel_size", (high - low) / torch.tensor(spatial_shape), persistent=False
        )
        self.low: Tensor
        self.voxel_size: Tensor

    def forward(
        self,
        points: Tensor,  # [N, 4] float32: x, y, z (metres), remission
        level: Level,
    ) -> Tensor:  # [V, C]
        first, _, last = cast("tuple[nn.Linear, nn.Module, nn.Linear]", self.mlp)
        weight = F.pad(first.weight, (0, PADDING))
        hidden = F.relu(F.linear(self.describe(points, level), weight, first.bias), inplace=True)
        # A linear map of the mean is the mean of the linear maps, on fewer rows.
        features: Tensor = last(segment_mean(hidden, level.points))
        return features

    def describe(self, points: Tensor, level: Level) -> Tensor:  # [N, 10 + PADDING]
        """The ten features: the point, and its offsets from its voxel's mean and lower corner.

        Points without a voxel get zeros, which keeps what they contain (NaN, say) out of gradients.
        """
        xyz = points[:, :3]
        mean = segment_mean(xyz, level.points)
        corner = level.voxels.indices[:, 1:].to(points.dtype) * self.voxel_size + self.low
        origins = voxel_to_point(torch.cat([mean, corner], dim=1), level.points)
        padding = points.new_zeros(len(points), PADDING)
        described = torch.cat([points, xyz.repeat(1, 2) - origins, padding], dim=1)
        inside = (level.voxels.inverse >= 0)[:, None]
        return described.where(inside, described.new_zeros(()))
