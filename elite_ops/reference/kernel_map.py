"""Definitions of `build_kernel_map`, `connect_voxels` and `output_voxels`, offset by offset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import torch
from torch import Tensor

from elite_ops.kernel_geometry import KernelGeometry
from elite_ops.kernel_map import KernelMap

__all__ = ["build_kernel_map", "connect_voxels", "output_voxels"]


def build_kernel_map(
    indices: Tensor,  # [V, 4] int32: batch, x, y, z
    *,
    spatial_shape: Sequence[int],
    batch_size: int,
    kernel_size: int | Sequence[int] = 3,
    dilation: int | Sequence[int] = 1,
) -> KernelMap:
    """See `elite_ops.build_kernel_map`."""
    geometry = KernelGeometry.of_submanifold(kernel_size, dilation=dilation, op="build_kernel_map")
    kernel_map = connect_voxels(
        indices, spatial_shape, indices, spatial_shape, batch_size=batch_size, geometry=geometry
    )
    return KernelMap(kernel_map.in_rows, len(indices), geometry, symmetric=geometry.symmetric)


def connect_voxels(
    in_indices: Tensor,  # [V_in, 4] int32
    in_shape: Sequence[int],
    out_indices: Tensor,  # [V_out, 4] int32
    out_shape: Sequence[int],
    *,
    batch_size: int,
    geometry: KernelGeometry,
) -> KernelMap:
    """See `elite_ops.connect_voxels`."""
    sorted_key, row = _keys(in_indices, in_shape).sort()
    in_rows = []
    for wanted, valid in _inputs(out_indices, geometry):
        inside = valid & _is_inside(wanted, in_shape)
        key = _keys(wanted, in_shape)
        place = torch.searchsorted(sorted_key, key).clamp(max=max(len(row) - 1, 0))
        if len(row) == 0:
            in_rows.append(torch.full_like(key, -1).int())
            continue
        found = inside & (sorted_key[place] == key)
        in_rows.append(torch.where(found, row[place], -1).int())
    return KernelMap(torch.stack(in_rows), len(in_indices), geometry)


def output_voxels(
    indices: Tensor,  # [V, 4] int32
    *,
    spatial_shape: Sequence[int],
    batch_size: int,
    geometry: KernelGeometry,
) -> Tensor:  # [V_out, 4] int32
    """See `elite_ops.output_voxels`: the union over the offsets, sorted."""
    shape = geometry.output_shape(spatial_shape)
    reached = [
        cell[valid & _is_inside(cell, shape)]
        for cell, valid in _inputs(indices, geometry.swapped())
    ]
    found: Tensor = torch.unique(torch.cat(reached), dim=0).int()
    return found


def _inputs(indices: Tensor, geometry: KernelGeometry) -> Iterator[tuple[Tensor, Tensor]]:
    """The input cell [V, 4] of each output cell under each offset, and whether there is one."""
    cell = indices[:, 1:].long()
    stride, padding, dilation = (
        torch.tensor(numbers, device=indices.device)
        for numbers in (geometry.stride, geometry.padding, geometry.dilation)
    )
    for offset in product(*(range(size) for size in geometry.kernel_size)):
        step = torch.tensor(offset, device=indices.device) * dilation
        if geometry.transposed:
            position = cell + padding - step
            found = position.div(stride, rounding_mode="floor")
            valid = (found * stride == position).all(1)
        else:
            found = cell * stride - padding + step
            valid = torch.ones_like(found[:, 0], dtype=torch.bool)
        yield torch.cat([indices[:, :1].long(), found], 1), valid


def _keys(indices: Tensor, shape: Sequence[int]) -> Tensor:
    key = indices[:, 0].long()
    for axis, size in enumerate(shape, 1):
        key = key * size + indices[:, axis].long()
    return key


def _is_inside(indices: Tensor, shape: Sequence[int]) -> Tensor:
    cell = indices[:, 1:]
    inside = (cell >= 0) & (cell < torch.tensor(shape, device=cell.device))
    return inside.all(1)
