"""Hard voxelization in spconv's order of axes, which spconv's generators share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from elite_ops.ops.hard_voxelize import hard_voxelize

__all__ = ["Generator", "PointVoxels", "as_tensor"]


class PointVoxels(NamedTuple):
    """The voxels of one point cloud, first come first."""

    voxels: Tensor  # [V, T, C]: points, then zeros or the mean
    indices: Tensor  # [V, D] int32: z, y, x
    counts: Tensor  # [V] int32
    point_voxels: Tensor  # [N] int64: the voxel of each point, -1 for none


class Generator:
    """A grid, and limits on its voxels and their points.

    Args:
        vsize_xyz: the size of a voxel along x, y, z, or along fewer axes.
        coors_range_xyz: the minima, then the maxima.
        num_point_features: C, of which coordinates come first.
        max_num_voxels: how many voxels there may be.
        max_num_points_per_voxel: T.
    """

    def __init__(
        self,
        vsize_xyz: Sequence[float],
        coors_range_xyz: Sequence[float],
        num_point_features: int,
        max_num_voxels: int,
        max_num_points_per_voxel: int,
    ) -> None:
        self.ndim = len(vsize_xyz)
        if not 1 <= self.ndim <= 3 or len(coors_range_xyz) != 2 * self.ndim:
            raise ValueError(
                f"{type(self).__name__}: `vsize_xyz` must have one to three entries and "
                f"`coors_range_xyz` twice as many, got {list(vsize_xyz)} and "
                f"{list(coors_range_xyz)}"
            )
        self.num_point_features = num_point_features
        self.max_num_voxels = max_num_voxels
        self.max_num_points_per_voxel = max_num_points_per_voxel
        size = [float(length) for length in vsize_xyz]
        bounds = [float(bound) for bound in coors_range_xyz]
        self._size = size
        self._minima, self._maxima = bounds[: self.ndim], bounds[self.ndim :]
        self.vsize = size[::-1]
        self.coors_range = self._minima[::-1] + self._maxima[::-1]
        self.grid_size = _grid_size(self._minima, self._maxima, size)[::-1]  # z, y, x
        self.grid_stride = [
            int(np.prod(self.grid_size[axis + 1 :])) for axis in range(len(self.grid_size))
        ]

    def voxelize(
        self, points: Tensor, max_voxels: int | None = None, *, fill_with_mean: bool = False
    ) -> PointVoxels:
        """The voxels of points [N, C] float32."""
        if points.dim() != 2 or points.shape[1] != self.num_point_features:
            raise ValueError(
                f"{type(self).__name__}: points must be [N, {self.num_point_features}], got shape "
                f"{tuple(points.shape)}"
            )
        points = points.detach().to(torch.float32)
        missing = 3 - self.ndim  # axes of one cell, in which the zeros are
        zeros = points.new_zeros(len(points), missing)
        found = hard_voxelize(
            torch.cat([points[:, : self.ndim], zeros, points[:, self.ndim :]], 1)
            if missing
            else points,
            point_cloud_range=[
                *self._minima,
                *[-0.5] * missing,
                *self._maxima,
                *[0.5] * missing,
            ],
            voxel_size=[*self._size, *[1.0] * missing],
            max_points=self.max_num_points_per_voxel,
            max_voxels=self.max_num_voxels if max_voxels is None else max_voxels,
            batch_size=1,
        )
        voxels = found.points
        if missing:
            voxels = torch.cat([voxels[:, :, : self.ndim], voxels[:, :, 3:]], 2)
        if fill_with_mean:
            voxels = _filled(voxels, found.counts)
        indices = found.indices[:, 1 : 1 + self.ndim].flip(1)
        return PointVoxels(voxels, indices, found.counts, found.point_rows.long())


def as_tensor(points: Any) -> Tensor:
    """Points as arrays, tensors, or anything that has a `numpy()`, such as cumm's tensors."""
    if isinstance(points, Tensor):
        return points
    return torch.from_numpy(np.ascontiguousarray(getattr(points, "numpy", lambda: points)()))


def _grid_size(minima: list[float], maxima: list[float], size: list[float]) -> list[int]:
    """round((maximum - minimum) / size) along each axis, each step in float32."""
    low, high, step = (np.array(numbers, np.float32) for numbers in (minima, maxima, size))
    return [int(cells) for cells in np.floor((high - low) / step + np.float32(0.5))]


def _filled(voxels: Tensor, counts: Tensor) -> Tensor:
    """The mean of each voxel's points where it has none."""
    number = counts.view(-1, 1, 1)
    mean = voxels.sum(1, keepdim=True) / number
    empty = torch.arange(voxels.shape[1], device=voxels.device).view(1, -1, 1) >= number
    return torch.where(empty, mean, voxels)
