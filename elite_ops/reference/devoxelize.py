"""Definition of `elite_ops.devoxelize`: features of voxels read at points."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from elite_ops.voxel_set import VoxelSet

__all__ = ["devoxelize"]


def devoxelize(
    features: Tensor,  # [V, C]
    voxels: VoxelSet,
    points: Tensor,  # [N, 3 + F] float32
    batch_index: Tensor | None = None,  # [N] int64
    *,
    point_cloud_range: Sequence[float],
    mode: str = "trilinear",
) -> Tensor:  # [N, C]
    """See `elite_ops.devoxelize`."""
    xyz = points[:, :3]
    batch = torch.zeros_like(xyz[:, 0]).long() if batch_index is None else batch_index
    minimum, maximum = torch.tensor(point_cloud_range, dtype=torch.float64).view(2, 3)
    extent = (maximum - minimum).to(points)
    minimum, maximum = minimum.to(points), maximum.to(points)
    size = torch.tensor(voxels.spatial_shape, device=points.device)
    inside = ((xyz > minimum) & (xyz < maximum)).all(1)
    xyz = torch.where(inside[:, None], xyz, minimum)
    position = size * (xyz - minimum) / extent  # in cells
    keys, order = _key(voxels.indices.long(), size).sort()

    def rows_of(cell: Tensor) -> Tensor:  # [N, 3]
        """The row of the voxel at each cell, -1 where there is none."""
        wanted = _key(torch.cat([batch[:, None], cell], 1), size)
        place = torch.searchsorted(keys, wanted).clamp(max=max(len(keys) - 1, 0))
        is_there = inside & ((cell >= 0) & (cell < size)).all(1)
        if len(keys) == 0:
            return torch.full_like(wanted, -1)
        return torch.where(is_there & (keys[place] == wanted), order[place], -1)

    if mode == "nearest":
        rows = rows_of(torch.minimum(position.long(), size - 1))[:, None]
        weights = (rows >= 0).to(points)
    else:
        lower = (position - 0.5).floor()
        share = position - 0.5 - lower
        corners = list(product((0, 1), repeat=3))
        each = [torch.tensor(corner, device=points.device) for corner in corners]
        weights = torch.stack([torch.where(up == 1, share, 1 - share).prod(1) for up in each], 1)
        rows = torch.stack([rows_of(lower.long() + up) for up in each], 1)
        rows = torch.where(weights > 0, rows, -1)
        weights = torch.where(rows >= 0, weights, 0)
        weights = weights / weights.sum(1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    wide = features if features.dtype == torch.float64 else features.float()
    padded = torch.cat([wide, wide.new_zeros(1, wide.shape[1])])  # row -1
    return (padded[rows] * weights[..., None].to(wide)).sum(1).to(features)


def _key(cells: Tensor, size: Tensor) -> Tensor:  # [N, 4], [3]
    batch, x, y, z = cells.unbind(1)
    return ((batch * size[0] + x) * size[1] + y) * size[2] + z
