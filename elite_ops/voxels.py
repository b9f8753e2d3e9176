"""The occupied cells of a grid, and which points lie in each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from elite_ops.voxel_set import VoxelSet

__all__ = ["Voxels"]


class Voxels(VoxelSet):
    """The voxels of a point cloud at one scale, ordered by batch, x, y, z.

    Made by `voxelize`. Padded buffers have V rows, of which the first `num_voxels` are valid; what
    the others hold is not defined.

    Attributes:
        point_rows: [N] int32: the row of each point's voxel, -1 for a point outside the range.
        counts: [V] int32: points in each voxel.
        num_voxels: [] int64, on the device.
        scale: how much coarser the grid is than that of scale 1.
        halved: the voxels of the grid of half as many cells, whose points are these voxels; or
            None.
    """

    def __init__(
        self,
        indices: Tensor,  # [V, 4] int32
        point_rows: Tensor,
        counts: Tensor,
        num_voxels: Tensor,
        spatial_shape: tuple[int, int, int],
        batch_size: int,
        *,
        scale: int,
        padded: bool = False,
        halved: Voxels | None = None,
    ) -> None:
        super().__init__(
            indices, spatial_shape, batch_size, num_rows=num_voxels if padded else None
        )
        self.point_rows = point_rows
        self.counts = counts
        self.num_voxels = num_voxels
        self.scale = scale
        self.halved = halved


def _flatten(voxels: Voxels) -> tuple[list[Any], Any]:
    children: list[Any] = [voxels.indices, voxels.point_rows, voxels.counts, voxels.num_voxels]
    if voxels.halved is not None:
        children.append(voxels.halved)
    padded = voxels.num_rows is not None
    return children, (voxels.spatial_shape, voxels.batch_size, voxels.scale, padded)


def _unflatten(children: Any, context: Any) -> Voxels:
    """Without checks: trees may hold anything in place of tensors."""
    voxels = Voxels.__new__(Voxels)
    indices, voxels.point_rows, voxels.counts, voxels.num_voxels, *halved = children
    voxels.halved = halved[0] if halved else None
    spatial_shape, batch_size, voxels.scale, padded = context
    voxels._fill(indices, spatial_shape, batch_size, voxels.num_voxels if padded else None)
    return voxels


pytree.register_pytree_node(Voxels, _flatten, _unflatten, serialized_type_name="elite_ops.Voxels")
torch.serialization.add_safe_globals([Voxels])
