"""Definition of `elite_ops.build_kernel_map`: the neighbours of each voxel under each offset."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from elite_ops.kernel_map import KernelMap
from elite_ops.triple import triple

__all__ = ["build_kernel_map"]


def build_kernel_map(
    indices: Tensor,  # [V, 4] int32: batch, x, y, z
    *,
    spatial_shape: Sequence[int],
    batch_size: int,
    kernel_size: int | Sequence[int] = 3,
    dilation: int | Sequence[int] = 1,
) -> KernelMap:
    """See `elite_ops.build_kernel_map`."""
    kernel_size = triple("build_kernel_map", "kernel_size", kernel_size)
    dilation = triple("build_kernel_map", "dilation", dilation)
    shape = torch.tensor(spatial_shape, device=indices.device)
    batch, cell = indices[:, 0].long(), indices[:, 1:].long()

    def key(cell: Tensor) -> Tensor:
        out = batch
        for axis in range(3):
            out = out * shape[axis] + cell[:, axis]
        return out

    sorted_key, row = key(cell).sort()
    neighbors = []
    for offset in product(*(range(size) for size in kernel_size)):
        displacement = [(offset[a] - kernel_size[a] // 2) * dilation[a] for a in range(3)]
        neighbor = cell + torch.tensor(displacement, device=indices.device)
        inside = ((neighbor >= 0) & (neighbor < shape)).all(dim=1)
        wanted = key(neighbor)
        place = torch.searchsorted(sorted_key, wanted).clamp(max=max(len(row) - 1, 0))
        found = inside & (sorted_key[place] == wanted)
        neighbors.append(torch.where(found, row[place], -1).int())
    table = torch.stack(neighbors)
    return KernelMap(table, table, mirrored=True, kernel_size=kernel_size)
