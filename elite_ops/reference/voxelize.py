"""Definition of `elite_ops.voxelize`: the occupied cells of a grid at several scales."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from elite_ops.reference.kernel_map import build_kernel_map
from elite_ops.voxels import Voxels

__all__ = ["voxelize"]


def voxelize(
    points: Tensor,  # [N, 3 + F] float32: x, y, z (m), and features that are not read
    batch_index: Tensor | None = None,  # [N] int64
    *,
    point_cloud_range: Sequence[float],
    spatial_shape: Sequence[int],
    scales: Sequence[int] = (1,),
    batch_size: int | None = None,
    nested: bool = False,
    kernel_size: int | Sequence[int] | None = None,
    halved: Sequence[int] = (),
) -> list[Voxels]:
    """See `elite_ops.voxelize`."""
    xyz = points[:, :3]
    if batch_index is None:
        batch_index = torch.zeros(len(points), dtype=torch.int64, device=points.device)
    minimum, maximum = torch.tensor(point_cloud_range, dtype=torch.float64).view(2, 3)
    # Tensors on the device: dividing by a Python number multiplies by its reciprocal on CUDA.
    extent = (maximum - minimum).to(points)
    minimum, maximum = minimum.to(points), maximum.to(points)
    inside = ((xyz > minimum) & (xyz < maximum)).all(dim=1)

    def cells(shape: tuple[int, ...]) -> Tensor:
        size = torch.tensor(shape, device=points.device)
        index = size.to(points) * (xyz[inside] - minimum) / extent
        return torch.minimum(index.trunc().long(), size - 1)

    if batch_size is None:
        batch_size = int(batch_index.max()) + 1 if len(batch_index) else 1
    voxels = []
    for scale in scales:
        shape = _divided(spatial_shape, scale)
        cell = cells(tuple(spatial_shape)) // scale if nested else cells(shape)
        found = _number(batch_index[inside], cell, shape, batch_size, scale)
        point_rows = torch.full((len(points),), -1, dtype=torch.int32, device=points.device)
        point_rows[inside] = found.point_rows
        found.point_rows = point_rows
        if kernel_size is not None:
            kernel_map = build_kernel_map(
                found.indices, spatial_shape=shape, batch_size=batch_size, kernel_size=kernel_size
            )
            found.store(kernel_map.geometry, kernel_map)
        if scale in halved:
            batch, *cell_of_voxel = found.indices.long().unbind(1)
            half = torch.stack(cell_of_voxel, dim=1) // 2
            found.halved = _number(batch, half, _divided(shape, 2), batch_size, 2 * scale)
        voxels.append(found)
    return voxels


def _divided(shape: Sequence[int], scale: int) -> tuple[int, int, int]:
    x, y, z = (math.ceil(size / scale) for size in shape)
    return x, y, z


def _number(
    batch: Tensor,  # [N] int64
    cell: Tensor,  # [N, 3] int64
    shape: tuple[int, int, int],
    batch_size: int,
    scale: int,
) -> Voxels:
    """The different cells in order, and which of them each row is."""
    key = batch
    for axis in range(3):
        key = key * shape[axis] + cell[:, axis]
    key, row, counts = torch.unique(key, return_inverse=True, return_counts=True)
    columns = []
    for size in reversed(shape):
        columns.append(key % size)
        key = key // size
    indices = torch.stack([key, *reversed(columns)], dim=1).int()
    num_voxels = torch.tensor(len(indices), device=cell.device)
    return Voxels(indices, row.int(), counts.int(), num_voxels, shape, batch_size, scale=scale)
