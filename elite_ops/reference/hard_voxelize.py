"""Definition of `elite_ops.hard_voxelize`: first come, first kept."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from elite_ops.ops.hard_voxelize import HardVoxels

__all__ = ["hard_voxelize"]


def hard_voxelize(
    points: Tensor,  # [N, 3 + F] float32: x, y, z (m), and features
    batch_index: Tensor | None = None,  # [N] int64
    *,
    point_cloud_range: Sequence[float],
    voxel_size: Sequence[float],
    max_points: int,
    max_voxels: int,
) -> HardVoxels:
    """See `elite_ops.hard_voxelize`."""
    if batch_index is None:
        batch_index = torch.zeros(len(points), dtype=torch.int64, device=points.device)
    minimum, maximum = torch.tensor(point_cloud_range, device=points.device).view(2, 3)
    size = torch.tensor(voxel_size, device=points.device)
    shape = ((maximum - minimum) / size + 0.5).floor().long()
    cell = ((points[:, :3] - minimum) / size).floor()
    point = ((cell >= 0) & (cell < shape)).all(dim=1).nonzero()[:, 0]

    # The voxels, by sample and first point.
    rows = torch.cat([batch_index[point, None], cell[point].long()], dim=1)
    cells, voxel = torch.unique(rows, dim=0, return_inverse=True)
    first = torch.full((len(cells),), len(points), device=points.device)
    first = first.scatter_reduce(0, voxel, point, "amin")
    order = (cells[:, 0] * len(points) + first).argsort()
    is_kept = _rank(cells[order, 0]) < max_voxels
    row = torch.full_like(order, -1)
    row[order[is_kept]] = torch.arange(int(is_kept.sum()), device=points.device)

    # The points of each, in their order.
    slot = _rank(voxel)
    has_slot = (row[voxel] >= 0) & (slot < max_points)
    point_rows = torch.full((len(points),), -1, dtype=torch.int32, device=points.device)
    point_slots = point_rows.clone()
    point_rows[point] = row[voxel].int()
    point_slots[point] = torch.where(has_slot, slot, -1).int()
    num_voxels = is_kept.sum()
    gathered = points.new_zeros(int(num_voxels), max_points, points.shape[1])
    place = (row[voxel[has_slot]], slot[has_slot])
    gathered = gathered.index_put(place, points[point[has_slot]])
    counts = torch.bincount(place[0], minlength=int(num_voxels)).int()
    indices = cells[order[is_kept]].int()
    x, y, z = shape.tolist()
    return HardVoxels(gathered, indices, counts, point_rows, point_slots, num_voxels, (x, y, z))


def _rank(group: Tensor) -> Tensor:
    """How many entries before each one are equal to it."""
    order = group.argsort(stable=True)
    first = torch.searchsorted(group[order], group[order])
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(group), device=group.device) - first
    return rank
