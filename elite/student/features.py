"""From points to the features of the finest voxels."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from elite.student.pyramid import Level
from elite_ops import encode_voxels

__all__ = ["PointFeatures"]


class PointFeatures(nn.Module):
    """Ten features a point, a two-layer MLP, and the mean over each voxel.

    The last layer runs on the voxels: a linear map of the mean is the mean of the linear maps.
    """

    def __init__(
        self,
        channels: int,
        point_cloud_range: tuple[float, ...],  # metres
        spatial_shape: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(10, channels), nn.ReLU(), nn.Linear(channels, channels))
        low, high = point_cloud_range[:3], point_cloud_range[3:]
        self.origin = low
        self.voxel_size = tuple(
            (top - bottom) / cells
            for bottom, top, cells in zip(low, high, spatial_shape, strict=True)
        )

    def forward(
        self,
        points: Tensor,  # [N, 4] float32: x, y, z (metres), remission
        level: Level,
    ) -> Tensor:  # [V, C]
        first, _, last = cast("tuple[nn.Linear, nn.Module, nn.Linear]", self.mlp)
        means = encode_voxels(
            points,
            level.points,
            level.voxels.indices,
            first.weight.T,
            first.bias,
            voxel_size=self.voxel_size,
            origin=self.origin,
        )
        features: Tensor = last(means)
        return features
